//! What became of a job and of each candidate: the record that is made when it is over.

use eider_core::{End, Peer, PeerState, Split};
use eider_protocol::{NodeId, Outcome, Version, printable, query_hash};
use eider_store::{Fate, JobEnd, JobRecord, PeerRecord};

use crate::candidature::Candidature;
use crate::log::JobLog;
use crate::offer::Offered;
use crate::requester::JobRequest;

/// All that a record is made of.
pub(crate) struct Ended<'a> {
    pub(crate) requester: NodeId,
    pub(crate) request: &'a JobRequest,
    pub(crate) offered: &'a Offered,
    pub(crate) end: &'a End,
    pub(crate) split: Split,
    pub(crate) states: &'a [PeerState],
    pub(crate) peers: Vec<Candidature>,
    pub(crate) log: &'a JobLog,
}

impl Ended<'_> {
    pub(crate) fn into_record(self) -> JobRecord {
        let ids: Vec<Option<NodeId>> = self.peers.iter().map(|p| p.node).collect();
        let nodes = |peers: &[Peer]| peers.iter().filter_map(|p| ids[*p]).collect::<Vec<_>>();
        let (outcome, agreed, deliverer) = match self.end {
            End::Verified { outcome, agreed, deliverer } => (Some(outcome.clone()), nodes(agreed), ids[*deliverer]),
            End::JobFailed { outcome, agreed } => (Some(outcome.clone()), nodes(agreed), None),
            _ => (None, vec![], None),
        };
        let split = self.split.iter().map(|(d, peers)| (*d, nodes(peers))).collect();
        let (r, o) = (self.request, self.offered);
        let mut peers = self.peers;
        keep_bids(&mut peers);
        let peers = peers.into_iter().zip(self.states).map(|(p, state)| peer_record(p, state)).collect();
        let mut record = JobRecord {
            job: o.id,
            version: Version::LATEST,
            at: o.offer.issued_at,
            offer: hex::encode(&o.payload),
            policy: r.attest.as_ref().map(|a| a.policy.hash()),
            requester: self.requester,
            engine: r.engine,
            profile: o.offer.profile.clone(),
            class: r.class,
            k: r.plan.k,
            quorum: r.plan.quorum,
            executions: r.plan.executions,
            query: query_hash(&r.sql),
            salt: hex::encode(o.task.salt),
            draw: hex::encode(o.draw),
            time_us: r.time_us,
            seed: hex::encode(r.seed),
            inputs: r.inputs.entries(),
            end: JobEnd::from(self.end),
            reason: String::new(),
            digest: outcome.as_ref().map(Outcome::digest),
            outcome,
            agreed,
            deliverer,
            split,
            peers,
            timeline: self.log.timeline(),
        };
        record.reason = match self.end {
            End::InputFailed(why) => why.clone(),
            _ => record.told().unwrap_or_default(),
        };
        record
    }
}

/// Lets the record keep as many signed Bids as it has room for: first those of workers that got the task, then those that were
/// appraised, then others, each in the order of candidates.
fn keep_bids(peers: &mut [Candidature]) {
    let mut room = JobRecord::BIDS_MAX;
    for rank in 0..3 {
        for p in peers.iter_mut() {
            let own = if p.granted.is_some() { 0 } else { 1 + usize::from(p.appraisal.is_none()) };
            if own == rank {
                p.signed_bid.take_if(|bid| bid.len() > room);
                room -= p.signed_bid.as_ref().map_or(0, Vec::len);
            }
        }
    }
}

fn peer_record(p: Candidature, state: &PeerState) -> PeerRecord {
    let incompatible = p.incompatible.as_ref().map(|why| Fate::Incompatible { why: printable(why, Fate::WORDS_MAX) });
    let fate = incompatible.unwrap_or_else(|| Fate::from(state));
    PeerRecord {
        address: p.candidate.address,
        node: p.node.or(p.candidate.node),
        network: p.network.map(|n| n.to_string()),
        at_fault: fate.is_fault(),
        fate,
        commit: p.commit,
        appraisal: p.appraisal,
        known: p.known,
        signed_bid: p.signed_bid.map(hex::encode),
        bid_hash: p.bid_hash,
        signed_commit: p.signed_commit.map(hex::encode),
        second_commit: p.second_commit.map(hex::encode),
        signed_receipt: p.receipt.map(hex::encode),
        input_bytes: p.granted.as_ref().map_or(0, crate::grants::Granted::served),
    }
}
