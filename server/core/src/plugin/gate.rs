//! Plugins of the server as a whole: who may connect, and who that is.

use core::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Grants, Host, SettingsError};
use crate::refusal::{Code, Refusal};

/// A gate, or all mistakes in its settings.
pub type BuiltGate = Result<Arc<dyn Gate>, Vec<SettingsError>>;

/// Where a gate is bound: the server as a whole.
#[derive(Debug, Clone)]
pub struct ServerSite {
    /// The folder from which relative paths in settings hold: that of the config file.
    pub folder: PathBuf,
    /// The folder of the schemas.
    pub schemas: PathBuf,
    /// The folder of the scripts.
    pub scripts: PathBuf,
}

/// Somebody who connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Where it is.
    pub address: IpAddr,
    /// The page from which a browser connects; None for programs.
    pub origin: Option<String>,
    /// True if what is said is encrypted.
    pub tls: bool,
    /// True for another node, which will prove who it is.
    pub node: bool,
}

/// How a client shows who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The token of its hello, of `Authorization: Bearer TOKEN`, or of the subprotocol
    /// `keepboth.token.TOKEN`; None if it shows none.
    pub token: Option<String>,
    /// Where it is.
    pub address: IpAddr,
}

/// The token is a secret, and shows in no log.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Credentials")
            .field("token", &token)
            .field("address", &self.address)
            .finish()
    }
}

/// A client that is known.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name under which hooks and the audit trail see its writes, whatever its hello says.
    pub actor: Arc<str>,
    /// What it may do.
    pub grants: Grants,
    /// How long all this holds.
    pub pass: Pass,
}

/// How long an identity holds: until a moment, or until the gate that gave it takes it back. Its clones
/// are the same pass. The server looks at it before each request, and at a connection that asks for
/// nothing whenever it pings.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    until: Option<u64>,
    revoked: Arc<AtomicBool>,
}

impl Pass {
    /// One that holds until this many milliseconds since 1970; None is for ever.
    pub fn until(until: Option<u64>) -> Pass {
        Pass { until, revoked: Arc::default() }
    }

    /// Takes it back.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// Refused with `unauthenticated` once it does not hold any more.
    pub fn check(&self, now: u64) -> Result<(), Refusal> {
        let words = match self.until {
            _ if self.revoked.load(Ordering::Relaxed) => "your token was revoked",
            Some(until) if now >= until => "your token has expired",
            _ => return Ok(()),
        };
        Err(Refusal::new(Code::Unauthenticated, words).hint("show another token"))
    }
}

/// A plugin of the server as a whole. Its life is that of a [`super::Plugin`].
pub trait Gate: Send + Sync {
    /// True if it says who clients are. Then every request needs a grant, and a server may listen where
    /// others reach it.
    fn authenticates(&self) -> bool {
        false
    }

    /// Whether somebody may connect at all. The first refusal of a gate counts.
    fn connect(&self, _arrival: &Arrival) -> Result<(), Refusal> {
        Ok(())
    }

    /// Who a client is. The first gate that knows it counts; a refusal counts at once. None leaves it to
    /// the next gate; a client that none knows may do nothing. Without a token it may say what everybody
    /// may. A client without one is asked about once, before its first request.
    fn authenticate(&self, _credentials: &Credentials) -> Result<Option<Identity>, Refusal> {
        Ok(None)
    }

    /// A hash of the settings and of the contents of all files that they name. When it changes, clients
    /// are disconnected at the reload, so that each shows anew who it is.
    fn fingerprint(&self) -> [u8; 32];

    /// Begins what it does on its own accord. The host's own namespace is none, and its folder is
    /// `DATA/plugins/@server/PLUGIN`.
    fn start(&self, _host: Arc<dyn Host>) -> Result<(), String> {
        Ok(())
    }

    /// Begins no new work from now on.
    fn drain(&self) {}

    /// Ends its threads. Called once, after [`Gate::drain`].
    fn stop(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_holds_until_its_end_or_until_it_is_taken_back() {
        let pass = Pass::until(Some(100));
        let clone = pass.clone();
        assert_eq!(clone.check(99), Ok(()));
        let refusal = clone.check(100).expect_err("over");
        assert_eq!(refusal.code, Code::Unauthenticated);
        assert_eq!(refusal.message, "your token has expired");
        pass.revoke();
        assert_eq!(clone.check(0).expect_err("gone").message, "your token was revoked");
        assert_eq!(Pass::default().check(u64::MAX), Ok(()));
    }
}
