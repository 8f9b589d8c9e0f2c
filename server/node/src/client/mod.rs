//! A client of the protocol: many requests under way at once, watches, and watches that outlive connections.

/// What can go wrong between client and server.
mod error;
/// Frames between trees and messages.
mod codec;
/// Which answer belongs to which request.
mod routes;
/// Which server is meant.
mod target;
/// One connection.
mod connection;
/// A watch that goes on after a lost connection.
mod follow;

pub use connection::{Asked, Client};
pub use error::{ClientError, Refused};
pub use follow::{Follow, WatchRequest};
pub use routes::{Push, Pushes};
pub use target::Target;

#[cfg(test)]
mod tests;
