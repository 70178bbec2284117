//! A record against what was signed in it: each field that a signature bears on, and what must follow from another field.
//!
//! The requester holds the key of its archive and of the Offer, so neither can convict it. What workers signed can: each
//! Bid, Commit and receipt names the job, which is the hash of the Offer, which names the task and commits to the terms. What
//! nobody else signed is the requester's word alone, which [`Archive::alone`] lists.

mod candidates;
mod end;
mod timeline;

use eider_attest::{AttestPolicy, Tier};
use eider_protocol::{Hash, NodeId, Offer, TaskOutline, Terms};

use super::words::{Words, words};
use super::{Archive, AuditError, bad, bytes32, ensure};
use crate::record::{JobRecord, What};

/// A record beside what was signed in it.
pub(super) struct Check<'a> {
    pub(super) record: &'a JobRecord,
    policy: Option<&'a AttestPolicy>,
    pub(super) offer: &'a Offer,
    pub(super) words: Vec<Words>,
    /// Moments of each candidate, in order.
    moments: Vec<Vec<&'a What>>,
}

impl Archive {
    /// Compares all of the record.
    pub(super) fn check(&self, requester: NodeId) -> Result<(), AuditError> {
        ensure(self.record.requester == requester, || "the job is of another requester than the archive".into())?;
        let offer = self.offer()?;
        let check = Check::new(self, &offer)?;
        check.offer()?;
        check.timeline()?;
        check.draws()?;
        for p in 0..check.words.len() {
            check.peer(p)?;
        }
        check.split()?;
        check.end()
    }
}

impl<'a> Check<'a> {
    pub(super) fn new(archive: &'a Archive, offer: &'a Offer) -> Result<Self, AuditError> {
        let record = &archive.record;
        let (peers, named) = (record.peers.len(), record.split.iter().map(|(_, nodes)| nodes.len()).sum::<usize>());
        let moments = record.timeline.len();
        // What follows may look at each candidate for each.
        let fits = peers <= JobRecord::PEERS_MAX && record.agreed.len() <= peers && named <= 2 * peers;
        ensure(fits && record.split.len() <= named && moments <= JobRecord::ALL_MOMENTS_MAX + 1, || {
            "more candidates, commits or moments than a job can have".into()
        })?;
        let words = record.peers.iter().map(|p| words(record, offer, p)).collect::<Result<_, _>>()?;
        let mut moments = vec![vec![]; record.peers.len()];
        for moment in &record.timeline {
            if let Some(p) = moment.peer {
                moments
                    .get_mut(p)
                    .ok_or_else(|| bad("the timeline names a candidate that there was not"))?
                    .push(&moment.what);
            }
        }
        Ok(Self { record, policy: archive.policy.as_ref(), offer, words, moments })
    }

    /// The log of a very large job is cut: of what came later it has seats, Bids in favour of one, Commits, quorums and resets, but
    /// not whom else it asked. So what is checked of these is checked of every log.
    fn log_is_whole(&self) -> bool {
        self.record.timeline.len() < JobRecord::MOMENTS_MAX
    }

    /// Who is written down as the `p`-th candidate.
    fn name(&self, p: usize) -> String {
        self.record.peers[p].node.map_or_else(|| format!("candidate {p}"), |n| n.to_string())
    }

    fn has(&self, p: usize, what: impl Fn(&What) -> bool) -> bool {
        self.moments[p].iter().any(|w| what(w))
    }

    pub(super) fn was_dispatched(&self, p: usize) -> bool {
        self.has(p, |w| matches!(w, What::Dispatch { .. }))
    }

    /// The candidate whose Commit to this digest counted for this node.
    fn committer(&self, node: NodeId, digest: Hash) -> Option<usize> {
        (0..self.words.len()).find(|p| self.record.peers[*p].node == Some(node) && self.words[*p].committed_to(digest))
    }

    /// What the Offer says, and what it commits to.
    fn offer(&self) -> Result<(), AuditError> {
        let (r, o) = (self.record, self.offer);
        let is = |name: &str, same: bool| ensure(same, || format!("the Offer says another {name}"));
        is("requester", o.requester == r.requester)?;
        is("time", o.issued_at == r.at)?;
        is("class", o.class == r.class)?;
        is("engine", o.engine == r.engine)?;
        is("profile", o.profile == r.profile)?;
        let (seed, salt) = (bytes32(&r.seed)?, bytes32(&r.salt)?);
        let task = TaskOutline { query: r.query, inputs: &r.inputs, time_us: r.time_us, seed, salt };
        is("task than query, inputs, time, seed and salt make", task.hash() == o.task)?;
        let bytes = r.inputs.iter().try_fold(0u64, |sum, e| sum.checked_add(e.size));
        is("number of inputs", r.inputs.len() as u64 == u64::from(o.inputs.count) && bytes == Some(o.inputs.bytes))?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (k, quorum, executions) = (count(r.k), count(r.quorum), count(r.executions));
        let terms = Terms { seed: bytes32(&r.draw)?, k, quorum, executions, policy: r.policy };
        ensure(terms.commitment() == o.draw, || {
            "the Offer commits to another seed of the draw, k, quorum, executions or policy".into()
        })?;
        ensure(self.policy.map(AttestPolicy::hash) == r.policy, || {
            "the policy is not the one that the record names".into()
        })?;
        let wanting = self.policy.filter(|p| p.minimum > Tier::L0);
        let demand = wanting.map(|p| (p.hash(), u32::try_from(p.reuse_seconds()).unwrap_or(u32::MAX)));
        ensure(o.attest.map(|d| (d.policy, d.max_age_s)) == demand, || {
            "the Offer asks for other evidence than the policy does".into()
        })
    }
}
