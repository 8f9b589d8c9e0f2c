//! Who a node is: an Ed25519 key (RFC 8032) of its own; the node id is the public half.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::ids::NodeId;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The secret key of a node. Never shown.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key that grows from these 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> NodeKey {
        NodeKey(SigningKey::from_bytes(seed))
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes; the same bytes always get the same signature.
    pub fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey of {:?}", self.id())
    }
}

/// True if the node with this id signed these bytes. Weak keys prove nothing.
pub fn verify(node: &NodeId, bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    let key = VerifyingKey::from_bytes(&node.0);
    key.is_ok_and(|key| key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_bytes_and_its_node_only() {
        let (a, b) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
        let signature = a.sign(b"hello");
        assert!(verify(&a.id(), b"hello", &signature));
        assert!(!verify(&a.id(), b"hallo", &signature));
        assert!(!verify(&b.id(), b"hello", &signature));
        // The point of order one would be good for many signatures.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(!verify(&NodeId(weak), b"hello", &[0; SIGNATURE_BYTES]));
    }
}
