//! What holds after every event, and at the end.

use std::collections::{BTreeMap, HashSet};

use eider_core::{End, Peer, PeerState};
use eider_protocol::Hash;

use crate::faults::{Fault, GROUPS, RUN_MS};
use crate::world::Cluster;

/// The machine's own numbers, said again: what one commit alone, or two that agree, make of patience.
const FLOOR_MS: u64 = 2_000;
const GRACE_MS: u64 = 500;

impl Cluster {
    pub(crate) fn invariants(&mut self) {
        self.note_voids();
        let standing = self.standing();
        let quorum = standing.values().any(|peers| peers.len() >= self.plan.quorum);
        self.quorum = quorum;
        if quorum {
            self.quorum_at.get_or_insert(self.now);
        }
        self.invariant_executions_stay_in_the_budget();
        self.invariant_verified_has_distinct_quorum(&standing);
        self.invariant_ended_leaves_nobody_waiting();
        self.invariant_nobody_honest_is_at_fault();
        self.invariant_a_quorum_is_taken_at_once(quorum);
        self.invariant_nobody_is_believed_for_longer_than_patience(quorum);
        assert!(self.verified <= GROUPS);
    }

    /// Who broke a rule while there was no quorum has no vote.
    fn note_voids(&mut self) {
        for (p, state) in self.job.peers().iter().enumerate() {
            let breach = matches!(self.faults[p], Fault::OutOfOrder | Fault::CommitTwice);
            if breach && state.fault().is_some() && self.caught.insert(p) && !self.quorum {
                self.void.insert(p);
            }
        }
    }

    /// Commits that count: their makers were not heard to contradict themselves, and did not lose their vote.
    fn standing(&self) -> BTreeMap<Hash, Vec<Peer>> {
        let mut standing: BTreeMap<Hash, Vec<Peer>> = BTreeMap::new();
        for (p, commits) in &self.commits {
            if commits.iter().all(|(digest, _)| *digest == commits[0].0) && !self.void.contains(p) {
                standing.entry(commits[0].0).or_default().push(*p);
            }
        }
        standing
    }

    fn invariant_executions_stay_in_the_budget(&self) {
        assert!(self.dispatched.len() <= self.plan.executions, "{}", self.report("more executions than allowed"));
    }

    fn invariant_verified_has_distinct_quorum(&self, standing: &BTreeMap<Hash, Vec<Peer>>) {
        let (digest, agreed) = match &self.end {
            Some(End::Verified { outcome, agreed, .. }) => {
                assert_eq!(self.verified, GROUPS, "{}", self.report("verified without all bytes"));
                (outcome.digest(), agreed)
            }
            Some(End::JobFailed { outcome, agreed }) => {
                assert_eq!(self.verified, 0, "{}", self.report("bytes of a result, and then a failure"));
                (outcome.digest(), agreed)
            }
            _ => return,
        };
        let ids: HashSet<_> = agreed.iter().map(|p| self.nodes[*p]).collect();
        assert!(ids.len() >= self.plan.quorum, "{}", self.report("fewer identities than the quorum"));
        for p in agreed {
            let own = &self.commits[p];
            assert!(own.iter().all(|(d, _)| *d == digest), "{}", self.report("an agreement that was not committed"));
        }
        assert!(standing.contains_key(&digest));
        if self.liars() < self.plan.quorum {
            assert_eq!(digest, self.truth.digest(), "{}", self.report("a lie was accepted"));
        }
    }

    fn invariant_ended_leaves_nobody_waiting(&self) {
        if self.end.is_some() {
            let open = self.job.peers().iter().any(|s| !matches!(s, PeerState::Closed(_)));
            assert!(!open, "{}", self.report("a peer is left open"));
        }
    }

    /// Unless the liars have a quorum among themselves: then nobody can know.
    fn invariant_nobody_honest_is_at_fault(&self) {
        for (p, state) in self.job.peers().iter().enumerate() {
            let may = self.faults[p].is_breach() || self.liars() >= self.plan.quorum;
            assert!(may || state.fault().is_none(), "{}", self.report(&format!("peer {p} is blamed")));
        }
    }

    /// A quorum ends all running and bidding in the same step: with a quorum of two, an honest answer stands at the
    /// moment of its second commit.
    fn invariant_a_quorum_is_taken_at_once(&self, quorum: bool) {
        // Who runs beside a quorum was dispatched after it, for nobody of it could deliver.
        let since = self.quorum_at.unwrap_or(u64::MAX);
        for (p, state) in self.job.peers().iter().enumerate() {
            let waits = match state {
                _ if self.refused.contains(&p) => false,
                PeerState::ExpectConnection | PeerState::ExpectBid | PeerState::Appraising | PeerState::Busy { .. } => {
                    true
                }
                PeerState::ExpectCommit { .. } => self.dispatched[&p] < since,
                _ => false,
            };
            assert!(!quorum || !waits, "{}", self.report("somebody is waited for beside a quorum"));
        }
    }

    /// While a spare is held and the budget allows it, a quorum comes, or the spare is dispatched, within one patience of
    /// the last Dispatch or Commit.
    fn invariant_nobody_is_believed_for_longer_than_patience(&self, quorum: bool) {
        let spare = self.job.peers().iter().any(|s| matches!(s, PeerState::Held(_)));
        let paid = self.dispatched.len() < self.plan.executions;
        if quorum || !spare || !paid || self.dispatched.is_empty() || self.end.is_some() {
            return;
        }
        let most = self.moved + self.patience_at_most();
        assert!(self.now <= most, "{}", self.report("somebody was believed for too long"));
    }

    /// Patience as it follows from what stands, with every round of Dispatches but the first taken for one of lateness.
    fn patience_at_most(&self) -> u64 {
        let standing = self.standing();
        let run = |p: &Peer| self.commits[p][0].1 - self.dispatched[p];
        let slowest = standing.values().flatten().map(run).max();
        let once = slowest.map_or(self.plan.hedge_ms, |ms| (2 * ms + GRACE_MS).max(FLOOR_MS));
        let rounds: HashSet<_> = self.dispatched.values().collect();
        once << (rounds.len() - 1)
    }

    pub(crate) fn liars(&self) -> usize {
        self.faults.iter().filter(|f| f.is_liar()).count()
    }

    /// An honest quorum is complete no later than (its second commit + patience + the run of a replacement), if those who
    /// are dispatched after that second commit are honest and quick, and no more than a quorum's worth of such is needed.
    pub(crate) fn quorum_is_in_time(&self) {
        let Some(quorum_at) = self.quorum_at else { return };
        let honest = |p: &Peer| self.faults[*p].is_fast();
        let mut commits: Vec<u64> =
            self.commits.iter().filter(|(p, _)| honest(p)).map(|(_, c)| c[0].1).filter(|at| *at <= quorum_at).collect();
        commits.sort_unstable();
        let Some(second) = commits.get(1) else { return };
        let after = self.dispatched.iter().filter(|(_, at)| **at > *second);
        let quick = after.clone().all(|(p, _)| honest(p));
        let enough = self.dispatched.keys().filter(|p| honest(p)).count() >= self.plan.quorum;
        let shaken = self.faults.iter().any(|f| f.equivocates() || matches!(f, Fault::CommitTwice | Fault::OutOfOrder));
        if quick && enough && !shaken {
            let most = second + self.patience_at_most() + RUN_MS;
            assert!(quorum_at <= most, "{}", self.report("an honest quorum came too late"));
        }
    }

    /// Enough honest candidates, and a budget that all who waste a Dispatch cannot eat up, must give an answer.
    pub(crate) fn liveness(&self) -> bool {
        let all = |which: fn(Fault) -> bool| self.faults.iter().filter(|f| which(**f)).count();
        let honest: HashSet<_> =
            (0..self.faults.len()).filter(|p| self.faults[*p].is_honest()).map(|p| self.nodes[p]).collect();
        let quorum = self.plan.quorum;
        // At the quorum all others are reset: who voids it later can leave too few.
        let shaken = all(Fault::equivocates) > 0 || all(|f| f == Fault::Duplicate) > 0;
        // The losers are reset at the quorum: its members alone can deliver, so one of them must be honest.
        let deliverable = all(Fault::spoils_delivery) < quorum;
        let affordable = self.plan.executions >= quorum + all(Fault::wastes_a_dispatch);
        // Patience doubles: who says Progress for ever must be few enough for the deadline.
        let patient = all(|f| f == Fault::Busy) <= 3;
        if honest.len() < quorum || self.liars() >= quorum || shaken || !deliverable || !affordable || !patient {
            return false;
        }
        let good = matches!(self.end, Some(End::Verified { .. } | End::JobFailed { .. }));
        assert!(good, "{}", self.report("a quorum of honest workers gave no answer"));
        true
    }
}
