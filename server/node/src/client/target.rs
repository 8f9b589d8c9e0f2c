//! Which server is meant, and who must have signed its certificate.

use std::path::PathBuf;

use crate::tls::{Fault, Trust};

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is: `ws://…` or `wss://…`.
    pub url: String,
    /// A PEM file with the authorities of its certificate; None for those of this system.
    pub ca: Option<PathBuf>,
}

impl Target {
    pub(super) fn trust(&self) -> Result<Trust, Fault> {
        match &self.ca {
            Some(file) => Trust::authorities(file),
            None => Trust::system(),
        }
    }
}
