//! Who committed to what, and how the job ended by that.

use std::collections::{BTreeMap, BTreeSet};

use eider_protocol::{Hash, NodeId, Outcome, ResetCode, Verdict};

use super::Check;
use crate::audit::{AuditError, ensure};
use crate::record::{Fate, JobEnd, What};

impl Check<'_> {
    /// Who committed to what: all of it is signed, and who was judged by its Commit is in it.
    pub(super) fn split(&self) -> Result<(), AuditError> {
        let r = self.record;
        let mut named = BTreeSet::new();
        for (digest, nodes) in &r.split {
            for node in nodes {
                let new = named.insert((*digest, *node));
                ensure(new && self.committer(*node, *digest).is_some(), || {
                    format!("{node} is said to have committed to {}, and has not", digest.short())
                })?;
            }
        }
        for (p, peer) in r.peers.iter().enumerate() {
            let counted = match &peer.fate {
                Fate::Settled { .. } => true,
                Fate::Caught { code, .. } => {
                    matches!(code.0, ResetCode::Dissent | ResetCode::Equivocation | ResetCode::WrongBytes)
                }
                _ => false,
            };
            let equivocated = matches!(&peer.fate, Fate::Caught { code, .. } if code.0 == ResetCode::Equivocation);
            let second = self.words[p].second.as_ref().filter(|_| equivocated).map(|c| c.outcome.digest());
            let Some(node) = peer.node.filter(|_| counted) else { continue };
            let all = self.words[p].digest().into_iter().chain(second);
            ensure(all.into_iter().all(|d| named.contains(&(d, node))), || {
                format!("{node} committed, and is missing among those who did")
            })?;
        }
        ensure(self.split_of_log(&named) == r.split, || {
            "who committed to what is not in the order in which it was".into()
        })
    }

    /// The split as the order of Commits gives it, of those who are named in it.
    fn split_of_log(&self, named: &BTreeSet<(Hash, NodeId)>) -> Vec<(Hash, Vec<NodeId>)> {
        let mut groups: BTreeMap<Hash, Vec<NodeId>> = BTreeMap::new();
        for moment in &self.record.timeline {
            let Some(p) = moment.peer else { continue };
            let commit = match moment.what {
                What::Commit => &self.words[p].first,
                What::SecondCommit => &self.words[p].second,
                _ => continue,
            };
            if let (Some(commit), Some(node)) = (commit, self.record.peers[p].node) {
                let digest = commit.outcome.digest();
                if named.contains(&(digest, node)) {
                    groups.entry(digest).or_default().push(node);
                }
            }
        }
        let mut split: Vec<_> = groups.into_iter().collect();
        split.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        split
    }

    /// How the job ended, on what, and by whose word.
    pub(super) fn end(&self) -> Result<(), AuditError> {
        let r = self.record;
        let is = |same: bool, why: &str| ensure(same, || format!("the job is said to have ended {}: {why}", r.end));
        is(r.told().is_none_or(|told| told == r.reason), "the reason says something else")?;
        is(r.digest == r.outcome.as_ref().map(Outcome::digest), "the digest is not the outcome's")?;
        let committers: BTreeSet<_> = r.split.iter().flat_map(|(_, nodes)| nodes).collect();
        is(committers.len() <= r.executions, "more workers committed than it might cause executions")?;
        let completed = r.outcome.as_ref().map(|o| matches!(o, Outcome::Completed { .. }));
        match r.end {
            JobEnd::Verified => is(completed == Some(true), "there is no result"),
            JobEnd::JobFailed => is(completed == Some(false), "there is no failure"),
            _ => is(completed.is_none(), "there is an outcome"),
        }?;
        let Some(digest) = r.digest else {
            is(r.agreed.is_empty() && r.deliverer.is_none(), "somebody agreed or delivered")?;
            return self.end_without_outcome();
        };
        is(r.agreed.len() >= r.quorum, "fewer agreed than the quorum")?;
        let group = r.split.iter().find(|(d, _)| *d == digest).map_or(&[][..], |(_, nodes)| nodes);
        let agreed: Vec<_> = group.iter().filter(|n| r.agreed.contains(n)).copied().collect();
        is(agreed == r.agreed, "somebody is said to have agreed, and has not")?;
        for node in group.iter().filter(|n| !r.agreed.contains(n)) {
            let void = |p: usize| r.peers[p].at_fault || self.words[p].second.is_some();
            is(self.committer(*node, digest).is_some_and(void), "somebody agreed, and is not counted")?;
        }
        for (_, nodes) in r.split.iter().filter(|(d, _)| *d != digest) {
            let blamed = |p: usize| r.peers[p].at_fault || matches!(r.peers[p].fate, Fate::Incompatible { .. });
            let other = |n: &NodeId| (0..self.words.len()).any(|p| r.peers[p].node == Some(*n) && blamed(p));
            is(nodes.iter().all(other), "somebody committed to something else, and is not called to dissent")?;
        }
        let Some(deliverer) = r.deliverer else { return is(r.end == JobEnd::JobFailed, "nobody delivered") };
        let p = self.committer(deliverer, digest);
        let settled = p.is_some_and(|p| r.peers[p].fate == Fate::Settled { verdict: Verdict::Delivered });
        let asked = p.is_some_and(|p| self.has(p, |w| *w == What::Quorum));
        is(r.end == JobEnd::Verified && settled && asked, "its deliverer did not deliver")
    }

    /// An end without an outcome is the requester's word, but it must be possible.
    fn end_without_outcome(&self) -> Result<(), AuditError> {
        let r = self.record;
        let is = |same: bool, why: &str| ensure(same, || format!("the job is said to have ended {}: {why}", r.end));
        let dispatched = (0..self.words.len()).any(|p| self.was_dispatched(p));
        let largest = r.split.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or(0);
        match r.end {
            JobEnd::NoCandidates | JobEnd::ExceedsCapacity => {
                is(!dispatched && r.split.is_empty(), "workers were given the task")
            }
            JobEnd::NoDelivery => is(largest >= r.quorum, "there was no quorum"),
            JobEnd::NoQuorum | JobEnd::ExecutionsSpent => {
                let asked: Vec<_> = (0..self.words.len()).filter(|p| self.has(*p, |w| *w == What::Quorum)).collect();
                // A quorum for something else than what was already on its way to the user is none.
                let opened = |digest: Hash| asked.iter().any(|p| self.words[*p].digest() != Some(digest));
                let stands = |digest: Hash, node: &NodeId| {
                    self.committer(*node, digest)
                        .is_some_and(|p| !r.peers[p].at_fault && self.words[p].second.is_none())
                };
                let quorum = |(digest, nodes): &(Hash, Vec<NodeId>)| {
                    nodes.iter().filter(|n| stands(*digest, n)).count() >= r.quorum && !opened(*digest)
                };
                is(!r.split.iter().any(quorum), "there was a quorum")?;
                let seats = r.timeline.iter().filter(|m| matches!(m.what, What::Dispatch { .. })).count();
                is(r.end == JobEnd::NoQuorum || seats >= r.executions, "executions were left")
            }
            _ => Ok(()),
        }
    }
}
