//! Who committed to what, and whose commit counts.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use eider_protocol::{Hash, Outcome};

use super::state::{Peer, Split};

/// A commit that counts.
#[derive(Debug, Clone, Copy)]
struct Vote {
    peer: Peer,
    /// From Dispatch to Commit.
    run_ms: u64,
    /// Position among all commits.
    order: usize,
}

/// All commits of a job. What a worker once signed is never forgotten; whether it counts may change.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// Every commit, in order: at most two a peer, for the second one closes it.
    all: Vec<(Peer, Hash)>,
    outcomes: BTreeMap<Hash, Outcome>,
    standing: BTreeMap<Hash, Vec<Vote>>,
}

impl Votes {
    /// A worker's first commit.
    pub(super) fn cast(&mut self, peer: Peer, outcome: Outcome, run_ms: u64) {
        let digest = outcome.digest();
        let vote = Vote { peer, run_ms, order: self.all.len() };
        self.all.push((peer, digest));
        self.outcomes.entry(digest).or_insert(outcome);
        self.standing.entry(digest).or_default().push(vote);
    }

    /// A commit beside an earlier one: neither counts from now on.
    pub(super) fn contradict(&mut self, peer: Peer, outcome: &Outcome) {
        self.all.push((peer, outcome.digest()));
        self.void(peer);
    }

    /// The peer's commit does not count from now on.
    pub(super) fn void(&mut self, peer: Peer) {
        for votes in self.standing.values_mut() {
            votes.retain(|v| v.peer != peer);
        }
    }

    /// Whose commit to this digest counts.
    pub(super) fn agreed(&self, digest: Hash) -> Vec<Peer> {
        self.standing.get(&digest).into_iter().flatten().map(|v| v.peer).collect()
    }

    pub(super) fn outcome(&self, digest: Hash) -> Option<&Outcome> {
        self.outcomes.get(&digest)
    }

    /// The digest that so many commit to.
    pub(super) fn with_quorum(&self, quorum: usize) -> Option<Hash> {
        self.standing.iter().find(|(_, votes)| votes.len() >= quorum).map(|(digest, _)| *digest)
    }

    /// Whether the peer's commit counts for another digest.
    pub(super) fn dissents(&self, peer: Peer, digest: Hash) -> bool {
        self.standing.iter().any(|(d, votes)| *d != digest && votes.iter().any(|v| v.peer == peer))
    }

    /// Votes of the largest group.
    pub(super) fn best(&self) -> usize {
        self.standing.values().map(Vec::len).max().unwrap_or(0)
    }

    /// How long the first to commit ran.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.standing.values().flatten().min_by_key(|v| v.order).map(|v| v.run_ms)
    }

    /// How long the slower of the first two ran that agree; of several such pairs, the slowest.
    pub(super) fn pair_ms(&self) -> Option<u64> {
        self.standing.values().filter_map(|votes| Some(votes.first()?.run_ms.max(votes.get(1)?.run_ms))).max()
    }

    pub(super) fn split(&self) -> Split {
        let mut groups: BTreeMap<Hash, Vec<Peer>> = BTreeMap::new();
        for (peer, digest) in &self.all {
            groups.entry(*digest).or_default().push(*peer);
        }
        let mut split: Split = groups.into_iter().collect();
        split.sort_by_key(|(_, peers)| Reverse(peers.len()));
        split
    }
}
