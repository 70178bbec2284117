//! What a job is before anybody is asked: its task, its Offer, the weights of its candidates.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use eider_attest::Issued;
use eider_net::{Prefix, prefix};
use eider_protocol::{Hash, Identity, Kind, Offer, OfferId, Signed, Task, Version, draw_commitment};
use eider_store::Requirement;

use crate::candidate::Candidate;
use crate::requester::{CANDIDATES_MAX, JobRequest, RequestError};

/// What sealing and signing add to a task: key, tag, ids, CBOR.
const SEALING_BYTES: usize = 1024;
/// Weight of a candidate that shares its network with no other.
const WEIGHT: u64 = 1_000_000;

/// The requester's own part of a job.
pub(crate) struct Offered {
    pub(crate) offer: Offer,
    pub(crate) id: OfferId,
    pub(crate) payload: Vec<u8>,
    pub(crate) task: Task,
    pub(crate) task_hash: Hash,
    /// Seats are drawn with it; secret until the bids are in.
    pub(crate) draw: [u8; 32],
    pub(crate) weights: Vec<u64>,
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
        let valid_s = u32::try_from(request.plan.deadline_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let offer = Offer {
            requester: identity.node_id(),
            task: task_hash,
            draw: draw_commitment(&draw),
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
        let weights = weights(&request.candidates);
        Ok(Self { offer, id, payload: signed.to_payload(), task, task_hash, draw, weights })
    }

    pub(crate) fn issued(&self) -> Issued {
        Issued { offer: self.id, nonce: self.offer.nonce, at: self.offer.issued_at }
    }
}

/// Candidates of one network share one weight: whoever runs many workers in one place is chosen no more often for it.
/// Addresses are what this node dials, and nothing that a worker says.
fn weights(candidates: &[Candidate]) -> Vec<u64> {
    let networks: Vec<_> = candidates.iter().map(network).collect();
    let mut members: HashMap<&Network<'_>, u64> = HashMap::new();
    for n in &networks {
        *members.entry(n).or_default() += 1;
    }
    networks.iter().map(|n| (WEIGHT / members[n]).max(1)).collect()
}

/// Where a candidate is, as far as its address tells.
#[derive(PartialEq, Eq, Hash)]
enum Network<'a> {
    Prefix(Prefix),
    /// A name stands for whatever machine it leads to.
    Name(&'a str),
}

fn network(candidate: &Candidate) -> Network<'_> {
    match candidate.address.parse::<SocketAddr>() {
        Ok(address) => Network::Prefix(prefix(address)),
        Err(_) => Network::Name(candidate.address.rsplit_once(':').map_or(&*candidate.address, |(host, _)| host)),
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// [P-OFFER-3]
    #[test]
    fn many_candidates_of_one_network_weigh_as_much_as_one_elsewhere() {
        let candidates: Vec<Candidate> =
            ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:2", "10.0.0.9:1", "10.0.1.1:1", "a.org:1", "b.org:1", "b.org:2"]
                .iter()
                .map(|c| c.parse().unwrap())
                .collect();
        let w = WEIGHT;
        assert_eq!(weights(&candidates), [w / 4, w / 4, w / 4, w / 4, w, w, w / 2, w / 2]);
    }
}
