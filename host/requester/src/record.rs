//! What became of a job and of each candidate: the record that is made when it is over.

use eider_core::{Closed, End, LostWhy, Peer, PeerState, Plan, Split};
use eider_protocol::{NodeId, Outcome, Version, printable, printable_lines, query_hash};
use eider_store::{Fate, JobEnd, JobRecord, PeerRecord, ResetCodeWord};

use crate::candidature::Candidature;
use crate::log::JobLog;
use crate::offer::Offered;
use crate::requester::JobRequest;

/// Characters of a stranger's words that are kept.
pub(crate) const WORDS: usize = 200;
/// Bytes of signed Bids that one record keeps: those of chosen and refused workers, in the order of candidates. Of the rest it
/// has the hash.
const BIDS_MAX: usize = 16 << 20;

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
        let mut room = BIDS_MAX;
        let peers =
            self.peers.into_iter().zip(self.states).map(|(p, state)| peer_record(p, state, &mut room)).collect();
        JobRecord {
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
            end: word(self.end),
            reason: reason(self.end, &r.plan),
            digest: outcome.as_ref().map(Outcome::digest),
            outcome,
            agreed,
            deliverer,
            split,
            peers,
            timeline: self.log.timeline(),
        }
    }
}

fn peer_record(p: Candidature, state: &PeerState, room: &mut usize) -> PeerRecord {
    let fate = p.incompatible.clone().map_or_else(|| fate(state), |why| Fate::Incompatible { why: short(&why) });
    let matters = p.granted.is_some() || p.appraisal.is_some();
    let signed_bid = p.signed_bid.filter(|b| matters && b.len() <= *room);
    *room -= signed_bid.as_ref().map_or(0, Vec::len);
    PeerRecord {
        address: p.candidate.address,
        node: p.node.or(p.candidate.node),
        network: p.network.map(|n| n.to_string()),
        at_fault: fate.is_fault(),
        fate,
        commit: p.commit,
        appraisal: p.appraisal,
        known: p.known,
        signed_bid: signed_bid.map(hex::encode),
        bid_hash: p.bid_hash,
        signed_commit: p.signed_commit.map(hex::encode),
        second_commit: p.second_commit.map(hex::encode),
        signed_receipt: p.receipt.map(hex::encode),
        input_bytes: p.granted.as_ref().map_or(0, crate::grants::Granted::served),
    }
}

fn short(words: &str) -> String {
    printable(words, WORDS)
}

/// What became of a candidate.
fn fate(state: &PeerState) -> Fate {
    match state {
        PeerState::Closed(closed) => match closed {
            Closed::Unreachable(why) => Fate::Unreachable { why: short(why) },
            Closed::Duplicate(_) => Fate::Duplicate,
            Closed::Declined(d) => Fate::Declined { reason: d.reason, detail: short(&d.detail) },
            Closed::TooExpensive(price) => Fate::TooExpensive { price: *price },
            Closed::TooLate(eta_ms) => Fate::TooLate { eta_ms: *eta_ms },
            Closed::Unfit(why) => Fate::Unfit { why: printable(why, 8 * WORDS) },
            Closed::Lost(LostWhy::ResetByWorker(code)) => Fate::GaveUp { code: ResetCodeWord(*code) },
            Closed::Lost(LostWhy::Disconnected(why)) => Fate::Lost { why: short(why) },
            Closed::Lost(LostWhy::Misbehaved(code, why)) if state.fault().is_some() => {
                Fate::Caught { code: ResetCodeWord(*code), why: Some(short(why)) }
            }
            Closed::Lost(LostWhy::Misbehaved(_, why)) => Fate::Incompatible { why: short(why) },
            Closed::Reset(code) if state.fault().is_some() => Fate::Caught { code: ResetCodeWord(*code), why: None },
            Closed::Reset(code) => Fate::Reset { code: ResetCodeWord(*code) },
            Closed::Settled(verdict) => Fate::Settled { verdict: *verdict },
        },
        _ => Fate::Open,
    }
}

/// The end's word.
pub(crate) fn word(end: &End) -> JobEnd {
    match end {
        End::Verified { .. } => JobEnd::Verified,
        End::JobFailed { .. } => JobEnd::JobFailed,
        End::NoQuorum { .. } => JobEnd::NoQuorum,
        End::ExecutionsSpent { .. } => JobEnd::ExecutionsSpent,
        End::NoCandidates => JobEnd::NoCandidates,
        End::ExceedsCapacity => JobEnd::ExceedsCapacity,
        End::NoDelivery { .. } => JobEnd::NoDelivery,
        End::InputFailed(_) => JobEnd::InputFailed,
        End::DeadlinePassed { .. } => JobEnd::DeadlinePassed,
        End::Cancelled => JobEnd::Cancelled,
    }
}

fn groups(split: &Split) -> String {
    let groups: Vec<_> = split.iter().map(|(d, peers)| format!("{} for {}", peers.len(), d.short())).collect();
    if groups.is_empty() { "nobody committed".into() } else { groups.join(", ") }
}

fn reason(end: &End, plan: &Plan) -> String {
    let (k, q) = (plan.k, plan.quorum);
    match end {
        End::Verified { agreed, .. } => {
            format!("{} workers agreed, {q} of {k} were asked for; every byte checked", agreed.len())
        }
        End::JobFailed { outcome: Outcome::Completed { .. }, .. } => "the query fails".into(),
        End::JobFailed { outcome: Outcome::Failed { kind, message, .. }, agreed } => {
            let message = printable_lines(message, Outcome::MESSAGE_MAX);
            format!("{} workers agree that the query fails; {kind}.\n{message}", agreed.len())
        }
        End::NoQuorum { split } => {
            format!("{q} equal commits were needed and cannot come any more: {}", groups(split))
        }
        End::ExecutionsSpent { split } => format!(
            "{q} equal commits were needed, and all {} executions that the job may cause were used: {}; more are allowed with --executions",
            plan.executions,
            groups(split)
        ),
        End::NoCandidates => format!("fewer than {q} candidates took the job"),
        End::ExceedsCapacity => format!("no {q} candidates are large enough for the job"),
        End::NoDelivery { .. } => "there was a quorum, but nobody of it delivered the bytes".into(),
        End::InputFailed(why) => why.clone(),
        End::DeadlinePassed { split } => {
            let commits: usize = split.iter().map(|(_, peers)| peers.len()).sum();
            format!("the deadline passed with {commits} commits and no quorum of {q}")
        }
        End::Cancelled => "the job was cancelled".into(),
    }
}
