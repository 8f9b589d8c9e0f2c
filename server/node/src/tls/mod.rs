//! TLS 1.3 on the one port and towards other servers, and what of it proves that nobody stands between.

use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

/// Files of certificates and keys, and what is wrong with them.
mod files;
/// Until when a certificate holds.
mod validity;
/// A connection with or without TLS, and its channel binding.
mod stream;
/// The server's side: handshakes, and new certificates while it runs.
mod serve;
/// Whose certificates are believed.
mod trust;
/// Opening WebSockets to `ws://` and `wss://`.
mod dial;

pub use dial::{DialError, Doubt, web_socket};
pub use files::{Fault, Faults, Files, What, authorities};
pub use serve::Tls;
pub use stream::{Binding, Stream};
pub use trust::{PeerTrust, Trust};

/// Without 1.2 every connection has a channel binding that is its own (RFC 9266, section 3), and
/// there is nothing to configure.
static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// HTTP/1.1 alone, so that a connection meant for another protocol is not taken for ours (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The cryptography, handed to each configuration rather than set for the whole process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

#[cfg(test)]
mod tests;
