//! Which server is meant, who must have signed its certificate, and who asks it.

use std::path::PathBuf;

use crate::tls::{Fault, Trust};

/// A server.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is: `ws://…` or `wss://…`.
    pub url: String,
    /// A PEM file with the authorities of its certificate; None for those of this system.
    pub ca: Option<PathBuf>,
    /// What shows the server who this client is.
    pub token: Option<String>,
}

/// The token is a secret, and shows in no log.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn trust(&self) -> Result<Trust, Fault> {
        match &self.ca {
            Some(file) => Trust::authorities(file),
            None => Trust::system(),
        }
    }
}
