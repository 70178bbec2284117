//! What evidence must be about.

use eider_protocol::{Hash, NodeId, OfferId};
use sha2::{Digest, Sha512};

use crate::EvidenceKind;

/// All that one piece of evidence vouches for, so that it is of no use for another offer, node, key, engine or policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// What kind of evidence.
    pub kind: EvidenceKind,
    /// Nonce of the Offer.
    pub nonce: [u8; 32],
    /// Who asked.
    pub requester: NodeId,
    /// The Offer.
    pub offer: OfferId,
    /// Who answers.
    pub node: NodeId,
    /// X25519 key that a Dispatch is sealed to.
    pub sealing: [u8; 32],
    /// Engine component.
    pub engine: Hash,
    /// Hash of the policy that the requester will appraise under.
    pub policy: Hash,
}

impl Binding {
    /// SHA-512 over the domain and the fields in the order of their declaration, each preceded by its length in 4 bytes,
    /// big endian. All of it goes into a TEE's report data; [`Binding::short`] into a TPM's qualifying data.
    pub fn digest(&self) -> [u8; 64] {
        let mut hash = Sha512::new();
        let fields: [&[u8]; 9] = [
            b"eider/1 evidence",
            self.kind.word().as_bytes(),
            &self.nonce,
            self.requester.as_bytes(),
            self.offer.as_bytes(),
            self.node.as_bytes(),
            &self.sealing,
            self.engine.as_bytes(),
            self.policy.as_bytes(),
        ];
        for field in fields {
            hash.update(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(field);
        }
        hash.finalize().into()
    }

    /// SHA-256 of [`Binding::digest`], where only 32 bytes fit.
    pub fn short(&self) -> [u8; 32] {
        sha2::Sha256::digest(self.digest()).into()
    }
}
