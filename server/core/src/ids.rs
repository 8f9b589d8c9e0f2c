//! Identifiers: hashes of 32 bytes, store ids of 16, written as lower-case hex.

use std::fmt;
use std::str::FromStr;

/// A text is not the hex form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hex characters, found {found:?}")]
pub struct BadId {
    /// How many characters an id of that kind has.
    pub expected: usize,
    /// The text, cut to 80 characters.
    pub found: String,
}

/// Writes bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    hex_in(bytes, &mut vec![0; bytes.len() * 2]).to_owned()
}

/// The same in memory of the caller's, which has two bytes for each.
fn hex_in<'t>(bytes: &[u8], text: &'t mut [u8]) -> &'t str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    // Digits are UTF-8.
    std::str::from_utf8(text).unwrap_or_default()
}

/// Reads exactly `N` bytes of lower-case hex.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N], BadId> {
    let bad = || BadId { expected: N * 2, found: text.chars().take(80).collect() };
    unhex_if(text).ok_or_else(bad)
}

/// The same where most texts are nothing of the kind.
pub(crate) fn unhex_if<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] #[cbor(with = "minicbor::bytes")] pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(hex_in(&self.0, &mut [0; 2 * $len]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}…", hex(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<$name, BadId> {
                unhex(text).map($name)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(hex_in(&self.0, &mut [0; 2 * $len]))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// The id of a version: a hash of its parents and its data, or of its key and time if it has no parents.
    VersionId, 32
);
id!(
    /// The hash of a value's tag and bytes; 32 zero bytes for a delete and a split.
    DataHash, 32
);
id!(
    /// A node: its Ed25519 public key.
    NodeId, 32
);
id!(
    /// A conflict: the hash of its key and sorted addresses.
    ConflictId, 32
);
id!(
    /// A store: one namespace on one node; the origin of what is written there. Made once, at random.
    StoreId, 16
);

id!(
    /// Half of the hash of a key: the first half of its addresses, and its place in comparisons.
    KeyHash, 16
);

impl DataHash {
    /// What stands for the data of a delete or split.
    pub const NONE: DataHash = DataHash([0; 32]);
}
