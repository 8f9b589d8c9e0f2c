//! What a node accepts and keeps, as short hashes by part, so that two nodes can see where they differ.

use minicbor::{Decode, Encode};

/// Hashes a part of a policy, or the settings of a plugin: texts and bytes one after another, each with
/// its length, so that no two lists give the same bytes.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    /// Nothing is taken yet.
    pub fn new() -> Fingerprint {
        Fingerprint::default()
    }

    /// Takes the next text or bytes.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Fingerprint {
        let part = part.as_ref();
        self.0.update(&(part.len() as u64).to_be_bytes()).update(part);
        self
    }

    /// Takes a number that may be missing.
    #[must_use]
    pub fn with_number(self, number: Option<u64>) -> Fingerprint {
        match number {
            Some(number) => self.with(number.to_be_bytes()),
            None => self.with([]),
        }
    }

    /// The hash of all that was taken.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// The first 8 bytes of the hash: enough to tell two configurations apart, not to prove anything.
    pub fn short(&self) -> [u8; 8] {
        let mut short = [0; 8];
        short.copy_from_slice(&self.finish()[..8]);
        short
    }
}

/// The policy of one namespace at one node. Equal parts are configured alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Policy {
    /// The schemas that its values obey.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub schema: [u8; 8],
    /// What it may hold.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub limits: [u8; 8],
    /// All other plugins, in their order.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub hooks: [u8; 8],
    /// How long values, histories and deletes are kept.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub retention: [u8; 8],
}

impl Policy {
    /// The names of the parts in which two policies differ, in the order of the fields.
    pub fn differs(&self, other: &Policy) -> Vec<&'static str> {
        let parts = [
            ("schema", self.schema == other.schema),
            ("limits", self.limits == other.limits),
            ("hooks", self.hooks == other.hooks),
            ("retention", self.retention == other.retention),
        ];
        parts.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_back_from_its_bytes() {
        let policy = Policy { schema: [1; 8], limits: [2; 8], hooks: [3; 8], retention: [4; 8] };
        let bytes = minicbor::to_vec(policy).expect("bytes");
        assert_eq!(bytes[..2], [0x84, 0x48], "an array of four byte strings");
        assert_eq!(minicbor::decode::<Policy>(&bytes).expect("a policy"), policy);
    }

    #[test]
    fn the_parts_that_differ_are_named() {
        let policy = Policy { hooks: [1; 8], ..Policy::default() };
        assert_eq!(policy.differs(&policy), Vec::<&str>::new());
        assert_eq!(policy.differs(&Policy::default()), ["hooks"]);
    }

    #[test]
    fn where_one_part_ends_and_the_next_begins_counts() {
        let of = |parts: &[&str]| {
            parts.iter().fold(Fingerprint::new(), |print, part| print.with(part)).finish()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
    }
}
