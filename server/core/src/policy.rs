//! What a node accepts and keeps, as short hashes by part, so that two nodes can see where they differ.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

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

    /// The first 4 bytes of the hash: enough to tell two configurations apart, not to prove anything.
    pub fn short(&self) -> [u8; 4] {
        let mut short = [0; 4];
        short.copy_from_slice(&self.finish()[..4]);
        short
    }
}

/// The policy of one namespace at one node. Equal parts are configured alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The schemas that its values obey.
    pub schema: [u8; 4],
    /// What it may hold.
    pub limits: [u8; 4],
    /// All other plugins, in their order.
    pub hooks: [u8; 4],
    /// How long values, histories and deletes are kept.
    pub retention: [u8; 4],
}

impl<C> Encode<C> for Policy {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes([self.schema, self.limits, self.hooks, self.retention].as_flattened())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Policy {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        match d.bytes()?.as_chunks() {
            ([schema, limits, hooks, retention], []) => Ok(Policy {
                schema: *schema,
                limits: *limits,
                hooks: *hooks,
                retention: *retention,
            }),
            _ => Err(DecodeError::message("a policy has 16 bytes").at(at)),
        }
    }
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
        let policy = Policy { schema: [1; 4], limits: [2; 4], hooks: [3; 4], retention: [4; 4] };
        let bytes = minicbor::to_vec(policy).expect("bytes");
        assert_eq!((bytes[0], bytes.len()), (0x50, 17), "a byte string of 16");
        assert_eq!(minicbor::decode::<Policy>(&bytes).expect("a policy"), policy);
        assert!(minicbor::decode::<Policy>(&[0x43, 1, 2, 3]).is_err());
    }

    #[test]
    fn the_parts_that_differ_are_named() {
        let policy = Policy { hooks: [1; 4], ..Policy::default() };
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
