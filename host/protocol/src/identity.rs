//! Ed25519 keys of nodes.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::NodeId;

/// A node's secret key and what follows from it.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    public: PublicKey,
}

impl Identity {
    /// A new identity from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::from_seed(seed))
    }

    /// The identity of a 32-byte Ed25519 seed (RFC 8032).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey(key.verifying_key().to_bytes());
        Self { key, public }
    }

    /// The seed, for a key file.
    pub fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The node that this key makes.
    pub fn node_id(&self) -> NodeId {
        self.public.node_id()
    }

    /// Ed25519 signature over `message`. What is signed begins with a domain of its own, so that no signature serves elsewhere ([P-SIGN-2]).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?})", self.node_id())
    }
}

/// An Ed25519 public key, not yet checked to be a curve point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "serde_bytes")] [u8; 32]);

impl PublicKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// `b3:` + BLAKE3 of the key ([P-ID-1]).
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(*blake3::hash(&self.0).as_bytes())
    }
    /// Whether `signature` is this key's over `message`. Strict: small-order keys and malleable signatures are refused.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|k| k.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        let mut one = [0; 32];
        one[0] = 1;
        // The neutral point and 0: by RFC 8032's equation a signature of the neutral point, over anything.
        let mut anything = [0; 64];
        anything[0] = 1;
        assert!(!PublicKey::from_bytes(one).verifies(b"anything", &anything));
        let (identity, message) = (Identity::from_seed([7; 32]), b"a message");
        assert!(identity.public().verifies(message, &identity.sign(message)));
    }
}
