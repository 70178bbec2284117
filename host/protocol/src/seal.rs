//! Tasks sealed to one worker: HPKE (RFC 9180), base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305 ([P-SEAL-1]).

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};

use crate::message::{decode, encode};
use crate::{DecodeError, Dispatch, Hash, Kind, NodeId, OfferId, Task};

const INFO: &[u8] = b"eider/2 dispatch";

/// A key that tasks are sealed to. A worker makes one at its start and keeps it in memory alone.
pub struct SealingKey {
    secret: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: [u8; 32],
}

/// Why a task cannot be sealed.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("the sealing key in the bid is none")]
pub struct SealError;

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey({})", hex::encode(self.public))
    }
}

/// What a sealed task is tied to beside its key: job, worker, and the evidence that the key was shown with, if any.
fn associated(offer: OfferId, worker: NodeId, evidence: Option<Hash>) -> Vec<u8> {
    let mut data = [*offer.as_bytes(), *worker.as_bytes()].concat();
    if let Some(evidence) = evidence {
        data.extend_from_slice(evidence.as_bytes());
    }
    data
}

/// Whether tasks can be sealed to a key: X25519 with it must give a shared secret.
pub fn is_sealing_key(key: &[u8; 32]) -> bool {
    <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(key).is_ok_and(|key| {
        single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &key, INFO, &[], &[]).is_ok()
    })
}

impl SealingKey {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let (secret, public) = X25519HkdfSha256::derive_keypair(&seed);
        Ok(Self { secret, public: public.to_bytes().into() })
    }

    /// What a Bid says.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Opens what was sealed to this key, for this job and worker, with this evidence.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`], also of what was sealed to another key or tied to other evidence.
    pub fn open(&self, dispatch: &Dispatch, evidence: Option<Hash>) -> Result<Task, DecodeError> {
        let bad = |why: &str| DecodeError::Malformed(Kind::Dispatch, why.into());
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&dispatch.enc).map_err(|_| bad("no key"))?;
        let aad = associated(dispatch.offer, dispatch.worker, evidence);
        let opened = single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.secret,
            &enc,
            INFO,
            &dispatch.sealed,
            &aad,
        );
        decode(Kind::Dispatch, &opened.map_err(|_| bad("not sealed to this worker's key and evidence"))?)
    }
}

impl Task {
    /// Seals the task to the key of one worker's Bid.
    ///
    /// # Errors
    /// [`SealError`]: the Bid's key is none.
    pub fn seal(
        &self,
        offer: OfferId,
        worker: NodeId,
        sealing: [u8; 32],
        evidence: Option<Hash>,
    ) -> Result<Dispatch, SealError> {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&sealing).map_err(|_| SealError)?;
        let aad = associated(offer, worker, evidence);
        let sealed = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &key,
            INFO,
            &encode(self),
            &aad,
        );
        let (enc, sealed) = sealed.map_err(|_| SealError)?;
        Ok(Dispatch { offer, worker, enc: enc.to_bytes().into(), sealed })
    }

    /// A task out of what was sealed; for fuzzing what lies behind a seal.
    #[doc(hidden)]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        decode(Kind::Dispatch, bytes).ok()
    }

    /// Bytes that it has before it is sealed: what the size of a Dispatch depends on.
    pub fn size(&self) -> usize {
        encode(self).len()
    }
}
