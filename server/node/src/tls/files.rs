//! Files of certificates and keys in PEM form, and what is wrong with them in words.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::provider;

/// A file larger than this holds no certificate; the roots of a whole system are a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a server's certificate and key stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those of its authorities, the root left out.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Which file has a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The server's certificate.
    Cert,
    /// The server's private key.
    Key,
    /// The authorities whose certificates are believed.
    Ca,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which file.
    pub what: What,
    /// What is wrong, with the file's name.
    pub message: String,
    /// What would be right.
    pub hint: &'static str,
}

/// All that is wrong. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Files {
    /// Reads both and holds them against each other. Tells all faults at once.
    pub fn read(&self) -> Result<CertifiedKey, Faults> {
        let (chain, key) = match (certificates(What::Cert, &self.cert), private_key(&self.key)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => {
                return Err(Faults(chain.err().into_iter().chain(key.err()).collect()));
            }
        };
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| self.unfit(&error).into())
    }

    fn unfit(&self, error: &Error) -> Fault {
        let (cert, key) = (self.cert.display(), self.key.display());
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Fault {
                what: What::Key,
                message: format!("the key {key} does not fit the certificate {cert}"),
                hint: "the file's first certificate is the server's own, and the key is the one that it was made for",
            },
            Error::InvalidCertificate(_) => Fault {
                what: What::Cert,
                message: format!("the certificate {cert} cannot be read: {error}"),
                hint: "it is an X.509 certificate of version 3",
            },
            other => Fault {
                what: What::Key,
                message: format!("the key {key} cannot be used: {other}"),
                hint: "keys are Ed25519, ECDSA on P-256 or P-384, or RSA from 2,048 bits",
            },
        }
    }
}

/// The authorities in a file; one certificate that signed itself will do as well.
pub fn authorities(file: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(What::Ca, file)? {
        roots.add(certificate).map_err(|error| Fault {
            what: What::Ca,
            message: format!("a certificate in {} cannot be read: {error}", file.display()),
            hint: "it is an X.509 certificate of version 3",
        })?;
    }
    Ok(roots)
}

fn certificates(what: What, file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read(what, file)?;
    let fault = |message, hint| Fault { what, message, hint };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = read.map_err(|e| fault(broken(file, &e), CERTIFICATE_FORM))?;
    if found.is_empty() {
        let words = format!("{} holds no certificate in PEM form", file.display());
        return Err(fault(words, CERTIFICATE_FORM));
    }
    Ok(found)
}

const CERTIFICATE_FORM: &str = "such a file has lines -----BEGIN CERTIFICATE-----";
const KEY_FORM: &str = "such a file has a line -----BEGIN PRIVATE KEY-----";

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let bytes = read(What::Key, file)?;
    let fault = |message, hint| Fault { what: What::Key, message, hint };
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let contains = |words: &[u8]| bytes.windows(words.len()).any(|part| part == words);
        if contains(b"ENCRYPTED") {
            let words = format!("the key {} is locked with a passphrase", file.display());
            return fault(
                words,
                "a server that starts by itself can ask nobody: openssl pkey -in LOCKED -out OPEN",
            );
        }
        match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                let words = format!("{} holds no private key in PEM form", file.display());
                fault(words, KEY_FORM)
            }
            error => fault(broken(file, &error), KEY_FORM),
        }
    })
}

fn broken(file: &Path, error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    let why = match error {
        Error::MissingSectionEnd { .. } => "a section has no line -----END …-----".to_owned(),
        Error::IllegalSectionStart { .. } => "a line -----BEGIN …----- is malformed".to_owned(),
        other => other.to_string(),
    };
    format!("{} is not in PEM form: {why}", file.display())
}

fn read(what: What, file: &Path) -> Result<Vec<u8>, Fault> {
    let name = match what {
        What::Cert => "certificate",
        What::Key => "key",
        What::Ca => "authorities' certificates",
    };
    let shown = file.display();
    let unreadable = |error: std::io::Error| Fault {
        what,
        message: format!("cannot read the {name} {shown}: {error}"),
        hint: "is the path right, and may this user read the file?",
    };
    let meta = std::fs::metadata(file).map_err(unreadable)?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(Fault {
            what,
            message: format!("{shown} holds no {name}: not a regular file, or over 1 MiB"),
            hint: "name the file itself",
        });
    }
    std::fs::read(file).map_err(unreadable)
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults(vec![fault])
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
impl std::error::Error for Faults {}
