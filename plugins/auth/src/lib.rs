//! Tokens: who clients are, and what they may do.
//!
//! There are two kinds. A stored token is a name, an expiry and grants in a file of the server, under
//! the Argon2 hash of a secret that is shown once; it lives until it is revoked. A signed token carries
//! all that itself under an Ed25519 signature, and lives for hours at most; the server knows nothing
//! but the public key. The command `keepboth token` makes both.

use keepboth_core::plugin::{Factory, Make};

/// Grants as people write them.
pub mod grants;
/// Names, times and random bytes.
mod form;
/// The token that is shown once, and the hash of its secret.
pub mod secret;
/// The file of tokens.
pub mod book;
/// Tokens that carry their grants under a signature.
pub mod signed;
/// Tokens in words that are shown or kept.
mod hidden;
/// How often an address may show wrong tokens.
mod attempts;
/// How many hashes are computed at once.
mod bench;
/// The tokens of the file as they are now, and those that were verified.
mod table;
/// The gate: settings, and who somebody is.
mod gate;

pub use form::check_name;
pub use gate::{FILE, Settings};
pub use hidden::hide_tokens;

/// The plugin `auth`.
pub const FACTORY: Factory = Factory {
    name: "auth",
    about: "Knows clients by tokens, stored or signed, and says what they may do.",
    several: false,
    schema: gate::settings_schema,
    make: Make::Gate(gate::build),
};
