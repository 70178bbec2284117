//! What a job is before anybody is asked: its task and its Offer.

use std::time::{SystemTime, UNIX_EPOCH};

use eider_attest::Issued;
use eider_protocol::{Hash, Identity, Kind, Offer, OfferId, Signed, Task, Terms, Version};
use eider_store::Requirement;

use crate::requester::{CANDIDATES_MAX, JobRequest, RequestError};

/// What sealing and signing add to a task: key, tag, ids, CBOR.
const SEALING_BYTES: usize = 1024;

/// The requester's own part of a job.
pub(crate) struct Offered {
    pub(crate) offer: Offer,
    pub(crate) id: OfferId,
    pub(crate) payload: Vec<u8>,
    pub(crate) task: Task,
    pub(crate) task_hash: Hash,
    /// Seats are drawn with it; secret until the bids are in.
    pub(crate) draw: [u8; 32],
}

fn random() -> Result<[u8; 32], RequestError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| RequestError::Random)?;
    Ok(bytes)
}

impl Offered {
    pub(crate) fn new(identity: &Identity, request: &JobRequest) -> Result<Self, RequestError> {
        if request.candidates.len() > CANDIDATES_MAX {
            return Err(RequestError::Candidates(request.candidates.len()));
        }
        let task = Task {
            sql: request.sql.clone(),
            inputs: request.inputs.entries(),
            time_us: request.time_us,
            seed: request.seed,
            salt: random()?,
        };
        let (size, max) = (task.size(), Kind::Dispatch.max_bytes() - SEALING_BYTES);
        if size > max {
            return Err(RequestError::TooLarge(size, max));
        }
        let (draw, task_hash) = (random()?, task.hash());
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let terms = Terms {
            seed: draw,
            k: count(request.plan.k),
            quorum: count(request.plan.quorum),
            executions: count(request.plan.executions),
            policy: request.attest.as_ref().map(|a| a.policy.hash()),
        };
        let valid_s = u32::try_from(request.plan.deadline_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let offer = Offer {
            requester: identity.node_id(),
            task: task_hash,
            draw: terms.commitment(),
            class: request.class,
            engine: request.engine,
            profile: request.variant.profile().into(),
            limits: request.limits,
            inputs: request.inputs.summary(),
            attest: request.attest.as_ref().filter(|a| a.wants_evidence()).map(Requirement::demand),
            issued_at: unix_now(),
            valid_s: valid_s.min(Offer::VALID_MAX_S),
            nonce: random()?,
        };
        let signed = Signed::sign(identity, Version::LATEST, offer.clone());
        let id = OfferId::from_bytes(*signed.content_hash().as_bytes());
        Ok(Self { offer, id, payload: signed.to_payload(), task, task_hash, draw })
    }

    pub(crate) fn issued(&self) -> Issued {
        Issued { offer: self.id, nonce: self.offer.nonce, at: self.offer.issued_at }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
