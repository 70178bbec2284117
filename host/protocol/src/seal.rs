//! Tasks sealed to one worker: HPKE (RFC 9180), base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305 ([P-SEAL-1]).

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender, single_shot_seal};

use crate::message::{decode, encode};
use crate::{DecodeError, Dispatch, Hash, JobSecret, Kind, NodeId, OfferId, Task};

const INFO: &[u8] = b"eider/3 dispatch";
/// What the secret of the job's streams is exported for.
const STREAMS: &[u8] = b"eider/3 streams";

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
        Ok(Self::of_seed(&seed))
    }

    pub(crate) fn of_seed(seed: &[u8; 32]) -> Self {
        let (secret, public) = X25519HkdfSha256::derive_keypair(seed);
        Self { secret, public: public.to_bytes().into() }
    }

    /// What a Bid says.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Opens what was sealed to this key, for this job and worker, with this evidence; and what its streams are sealed with.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`], also of what was sealed to another key or tied to other evidence.
    pub fn open(&self, dispatch: &Dispatch, evidence: Option<Hash>) -> Result<(Task, JobSecret), DecodeError> {
        let bad = |why: &str| DecodeError::Malformed(Kind::Dispatch, why.into());
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&dispatch.enc).map_err(|_| bad("no key"))?;
        let aad = associated(dispatch.offer, dispatch.worker, evidence);
        let context =
            setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &self.secret, &enc, INFO);
        let mut context = context.map_err(|_| bad("no key"))?;
        let opened = context.open(&dispatch.sealed, &aad);
        let task = decode(Kind::Dispatch, &opened.map_err(|_| bad("not sealed to this worker's key and evidence"))?)?;
        let mut secret = [0; 32];
        context.export(STREAMS, &mut secret).map_err(|_| bad("no secret for its streams"))?;
        Ok((task, JobSecret::new(dispatch.offer, dispatch.enc, secret)))
    }
}

impl Task {
    /// Seals the task to the key of one worker's Bid, and says what the job's streams with it are sealed with.
    ///
    /// # Errors
    /// [`SealError`]: the Bid's key is none.
    pub fn seal(
        &self,
        offer: OfferId,
        worker: NodeId,
        sealing: [u8; 32],
        evidence: Option<Hash>,
    ) -> Result<(Dispatch, JobSecret), SealError> {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&sealing).map_err(|_| SealError)?;
        let aad = associated(offer, worker, evidence);
        let context = setup_sender::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &key, INFO);
        let (enc, mut context) = context.map_err(|_| SealError)?;
        let sealed = context.seal(&encode(self), &aad).map_err(|_| SealError)?;
        let (enc, mut secret) = (enc.to_bytes().into(), [0; 32]);
        context.export(STREAMS, &mut secret).map_err(|_| SealError)?;
        Ok((Dispatch { offer, worker, enc, sealed }, JobSecret::new(offer, enc, secret)))
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
