//! Tasks sealed to one worker: HPKE (RFC 9180), base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305 ([P-SEAL-1]).

use std::sync::LazyLock;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::{EdwardsPoint, MontgomeryPoint};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender};

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

/// Whether tasks can be sealed to a key: X25519 with it gives a secret, unless it is a point of small order, of the curve or of
/// its twist, with which everything gives 0 (RFC 7748, section 6.1).
pub fn is_sealing_key(key: &[u8; 32]) -> bool {
    static SMALL: LazyLock<Vec<MontgomeryPoint>> = LazyLock::new(|| {
        // The one that the twist adds is -1: 2^255 - 20.
        let mut twist = [0xff; 32];
        (twist[0], twist[31]) = (0xec, 0x7f);
        EIGHT_TORSION.iter().map(EdwardsPoint::to_montgomery).chain([MontgomeryPoint(twist)]).collect()
    });
    !SMALL.contains(&MontgomeryPoint(*key))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// [P-BID-1]: what HPKE cannot seal to is known without trying.
    #[test]
    fn keys_that_give_no_secret_are_none() {
        let tried = |key: &[u8; 32]| {
            let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(key).unwrap();
            setup_sender::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &key, INFO).is_ok()
        };
        // Points of small order, in each way in which they can be written: less than p, p more, with the bit that is ignored.
        let mut small: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|p| p.to_montgomery().to_bytes()).collect();
        for low in [0xec, 0xed, 0xee] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, 0x7f);
            small.push(key);
        }
        for key in small.clone() {
            small.push(std::array::from_fn(|i| key[i] | if i == 31 { 0x80 } else { 0 }));
        }
        for key in &small {
            assert!(!tried(key) && !is_sealing_key(key), "{}", hex::encode(key));
        }
        for seed in 0..64 {
            let mut key = [seed; 32];
            assert_eq!(is_sealing_key(&key), tried(&key), "{}", hex::encode(key));
            key = SealingKey::of_seed(&key).public();
            assert!(is_sealing_key(&key) && tried(&key));
        }
    }
}
