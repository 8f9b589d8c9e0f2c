//! Where requests go: the URL of a target, and whose certificates are believed there.

use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// True for https.
    pub secure: bool,
    /// Host and port as they stand in the URL.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Address {
    /// Reads a URL, or says what is wrong with it.
    pub fn read(url: &str) -> Result<Address, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{url:?} is no URL: {e}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(format!("{url:?} begins with {other}: use http or https")),
            None => {
                return Err(format!("{url:?} is no whole URL: it begins with https:// or http://"));
            }
        };
        let (Some(host), Some(authority)) = (uri.host().filter(|h| !h.is_empty()), uri.authority())
        else {
            return Err(format!("{url:?} names no host"));
        };
        if authority.as_str().contains('@') {
            return Err(format!(
                "the URL of {host} has a name or password in it; a receiver knows us by secret_file or secret_env"
            ));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() != host => {
                return Err(format!("{url:?} has no port from 0 to 65535 behind {host}"));
            }
            None if secure => 443,
            None => 80,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if secure {
            server_name(&host)?;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Address { host, port, secure, authority: authority.to_string(), path })
    }
}

/// The name that a certificate must have.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no name of a host"))
}

/// Whose certificates are believed: those of this file, or of the authorities that the system names.
pub fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
            let certificates = CertificateDer::pem_file_iter(file).map_err(|e| failed(&e))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| failed(&e))?;
                roots.add(certificate).map_err(|e| failed(&e))?;
            }
            if roots.is_empty() {
                return Err(failed(&"there is no certificate in it"));
            }
        }
        None => {
            let loaded = rustls_native_certs::load_native_certs();
            if roots.add_parsable_certificates(loaded.certs).0 == 0 {
                let why = loaded.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
                return Err(format!("this system names no authorities for certificates{why}"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| format!("TLS cannot be set up: {e}"))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let of = |url: &str| {
            let a = Address::read(url).expect(url);
            (a.host, a.port, a.secure, a.authority, a.path)
        };
        let text = str::to_owned;
        assert_eq!(
            of("https://a.example/in?x=1#f"),
            (text("a.example"), 443, true, text("a.example"), text("/in?x=1"))
        );
        assert_eq!(
            of("http://[::1]:8080"),
            (text("::1"), 8080, false, text("[::1]:8080"), text("/"))
        );
    }

    #[test]
    fn what_is_no_url_of_a_target_is_told_in_words() {
        for (url, told) in [
            ("", "is no URL"),
            ("hello there", "is no URL"),
            ("/in", "is no whole URL: it begins with https:// or http://"),
            ("example.com", "is no whole URL"),
            ("ftp://a.example/", "begins with ftp: use http or https"),
            ("http://u:p@a.example/", "has a name or password in it"),
            ("http://a.example:99999/", "99999"),
            ("https://-_-/", "is no name of a host"),
        ] {
            let words = Address::read(url).expect_err(url);
            assert!(words.contains(told), "{url}: {words}");
        }
        assert!(!Address::read("http://u:pass@a/").expect_err("refused").contains("pass@"));
    }
}
