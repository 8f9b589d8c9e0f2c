//! Whose certificates are believed when a connection is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::files::{Fault, What, authorities};
use super::{ALPN, VERSIONS, provider};

/// Whose certificates are believed, ready for use.
#[derive(Debug, Clone)]
pub struct Trust(pub(super) Arc<ClientConfig>);

impl Trust {
    /// The authorities that this system believes.
    pub fn system() -> Result<Trust, Fault> {
        let loaded = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(loaded.certs);
        if added == 0 {
            let why = loaded.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
            return Err(Fault {
                what: What::Ca,
                message: format!("this system names no authorities for certificates{why}"),
                hint: "name the server's own with --ca FILE",
            });
        }
        Trust::roots(roots)
    }

    /// The authorities in this file only.
    pub fn authorities(file: &Path) -> Result<Trust, Fault> {
        Trust::roots(authorities(file)?)
    }

    fn roots(roots: RootCertStore) -> Result<Trust, Fault> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(VERSIONS).map_err(|e| unusable(&e))?;
        Ok(Trust::of(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Any certificate, as between nodes.
    pub fn any() -> Result<Trust, Fault> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(VERSIONS).map_err(|e| unusable(&e))?;
        let verifier = Arc::new(AnyCertificate(provider()));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        Ok(Trust::of(builder.with_no_client_auth()))
    }

    fn of(mut config: ClientConfig) -> Trust {
        config.alpn_protocols = vec![ALPN.to_vec()];
        Trust(Arc::new(config))
    }
}

fn unusable(error: &Error) -> Fault {
    Fault {
        what: What::Ca,
        message: format!("TLS cannot be set up: {error}"),
        hint: "this is a mistake of the program",
    }
}

/// Whose certificates are believed of the nodes that this node dials.
#[derive(Debug)]
pub struct PeerTrust {
    ca: Option<PathBuf>,
    now: ArcSwap<Trust>,
}

impl PeerTrust {
    /// The authorities in this file; without one, any certificate will do.
    pub fn load(ca: Option<&Path>) -> Result<PeerTrust, Fault> {
        let now = ArcSwap::from_pointee(of_peers(ca)?);
        Ok(PeerTrust { ca: ca.map(Path::to_path_buf), now })
    }

    /// Reads the file again, and gives what puts it in force: new connections then go by what was in it.
    pub fn read_again(&self) -> Result<impl FnOnce() + use<'_>, Fault> {
        let new = Arc::new(of_peers(self.ca.as_deref())?);
        Ok(move || self.now.store(new))
    }

    /// As it is at this moment.
    pub fn now(&self) -> Trust {
        Trust::clone(&self.now.load())
    }
}

fn of_peers(ca: Option<&Path>) -> Result<Trust, Fault> {
    ca.map_or_else(Trust::any, Trust::authorities)
}

/// Believes every certificate. A node is known by its Ed25519 key and not by a name that an authority
/// vouches for: both ends of a link sign the channel binding of its TLS connection with their node
/// keys, so whoever stands between them, with whichever certificate, is found out, and nodes need no
/// authority. That the other end holds the key of the certificate that it shows is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Never asked: TLS 1.2 is not offered.
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
