//! Addresses: 64 hex characters that name one line of a key's history.

use std::fmt;
use std::str::FromStr;

use crate::ids::{BadId, VersionId, hex, unhex, unhex_if};

/// Half of a version id: the second half of an address.
pub type Branch = [u8; 16];

/// The half of a version id that an address carries.
pub fn branch_of(version: &VersionId) -> Branch {
    let mut half = [0; 16];
    half.copy_from_slice(&version.0[..16]);
    half
}

/// 64 hex characters that name one line of a key's history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Half of the key's hash.
    pub key: [u8; 16],
    /// Half of a version's id.
    pub branch: Branch,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", hex(&self.key), hex(&self.branch))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…{}…", hex(&self.key[..2]), hex(&self.branch[..4]))
    }
}

impl FromStr for Address {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Address, Self::Err> {
        unhex(text).map(Address::from_bytes)
    }
}

impl Address {
    /// The address that a text is, if it is one.
    pub fn find(text: &str) -> Option<Address> {
        unhex_if(text).map(Address::from_bytes)
    }

    fn from_bytes(bytes: [u8; 32]) -> Address {
        let (mut key, mut branch) = ([0; 16], [0; 16]);
        key.copy_from_slice(&bytes[..16]);
        branch.copy_from_slice(&bytes[16..]);
        Address { key, branch }
    }
}
