//! From Dispatches to a quorum: who is late, who is replaced, and when a quorum is lost again.
//!
//! How long a worker is believed never follows from one worker's word alone. Two that agree set the pace of all, twice
//! their time; one alone may be a liar who has not run the job, so it cannot hurry the others below a floor. Every time
//! that lateness costs a further execution, patience doubles: pace set by liars spends little of the budget.

use eider_protocol::{Decline, DeclineReason, Fault, Outcome, ResetCode};

use super::Job;
use super::state::{Closed, End, LostWhy, Peer, PeerState, Phase};

/// Beside twice the time of those who committed: what a start, a cache or a path may differ by between honest workers.
const LATE_GRACE_MS: u64 = 500;
/// One commit alone does not make others late before this: honest short jobs end within it, and a liar wins little.
const LATE_FLOOR_MS: u64 = 2_000;

impl Job {
    pub(super) fn commit(&mut self, now: u64, p: Peer, outcome: Outcome) {
        let digest = outcome.digest();
        let since = match self.peers[p] {
            PeerState::ExpectCommit { since, .. } => since,
            PeerState::Committed { digest: first, .. } | PeerState::ExpectResult { digest: first, .. }
                if first != digest =>
            {
                return self.equivocated(p, &outcome);
            }
            _ => return self.unexpected(p),
        };
        self.votes.cast(p, outcome, now.saturating_sub(since));
        self.peers[p] = PeerState::Committed { order: self.next_order(), digest, gone: false };
        match self.phase {
            Phase::ExpectResult(wanted) if wanted != digest => self.reset(p, ResetCode::Dissent),
            _ => self.check_quorum(),
        }
    }

    /// Both commits are void, before quorum and after it: a liar's vote for either does not count.
    fn equivocated(&mut self, p: Peer, second: &Outcome) {
        self.votes.contradict(p, second);
        self.reset(p, ResetCode::Equivocation);
        if let Phase::ExpectResult(digest) = self.phase
            && self.votes.agreed(digest).len() < self.plan.quorum
        {
            self.quorum_lost();
        }
    }

    /// Commits are awaited again. A delivery under way goes on, and what is verified stays: it is of use if the same
    /// outcome gets its quorum back. To disagree with a quorum that is none is no fault.
    fn quorum_lost(&mut self) {
        self.phase = Phase::ExpectCommits;
        for state in &mut self.peers {
            if *state == PeerState::Closed(Closed::Reset(ResetCode::Dissent)) {
                *state = PeerState::Closed(Closed::Reset(ResetCode::JobEnded));
            }
        }
        self.check_quorum();
    }

    fn check_quorum(&mut self) {
        if self.phase != Phase::ExpectCommits {
            return;
        }
        let Some(digest) = self.votes.with_quorum(self.plan.quorum) else { return };
        if self.opened.is_some_and(|opened| opened != digest) {
            // Bytes of another outcome may be with the user: they cannot be taken back.
            return self.end(End::NoQuorum { split: self.split() }, ResetCode::JobEnded);
        }
        for p in 0..self.peers.len() {
            match self.peers[p] {
                PeerState::ExpectConnection
                | PeerState::ExpectBid
                | PeerState::Appraising
                | PeerState::Busy { .. }
                | PeerState::ExpectCommit { .. } => {
                    self.reset(p, ResetCode::QuorumReached);
                }
                PeerState::Committed { digest: d, .. } if d != digest => self.reset(p, ResetCode::Dissent),
                PeerState::Closed(Closed::Reset(ResetCode::JobEnded)) if self.votes.dissents(p, digest) => {
                    self.close(p, Closed::Reset(ResetCode::Dissent));
                }
                _ => {}
            }
        }
        match self.votes.outcome(digest).cloned() {
            Some(outcome @ Outcome::Failed { .. }) => {
                let agreed = self.votes.agreed(digest);
                self.settle(digest, None);
                self.end(End::JobFailed { outcome, agreed }, ResetCode::JobEnded);
            }
            _ => self.phase = Phase::ExpectResult(digest),
        }
    }

    /// Seats of workers that left or disagree are filled again up to k, those of late ones up to what a quorum still
    /// needs; the job ends when no quorum can come any more.
    pub(super) fn advance_commits(&mut self, now: u64) {
        // With bytes of a result on their way, its quorum is completed and no more.
        let seats = if self.opened.is_some() { self.plan.quorum } else { self.plan.k };
        let best = self.votes.best();
        let mut hedged = false;
        loop {
            let lacking = best + self.in_time() < self.plan.quorum;
            let open = best + self.running() < seats;
            if !(open || lacking) || !self.dispatch_next(now) {
                break;
            }
            hedged |= !open;
        }
        if hedged {
            self.patience = self.patience.saturating_mul(2);
        }
        let reach = best + self.running();
        let candidates = self.held() + self.pending();
        if reach + candidates.min(self.budget_left()) >= self.plan.quorum {
            return;
        }
        let split = self.split();
        let spent = reach + candidates >= self.plan.quorum;
        self.end(if spent { End::ExecutionsSpent { split } } else { End::NoQuorum { split } }, ResetCode::JobEnded);
    }

    /// Milliseconds from Dispatch after which a worker is late.
    pub(super) fn patience_ms(&self) -> u64 {
        let twice = |ms: u64| ms.saturating_mul(2).saturating_add(LATE_GRACE_MS);
        let once = match (self.votes.pair_ms(), self.votes.first_ms()) {
            (Some(pair), _) => twice(pair),
            (None, Some(first)) => twice(first).max(LATE_FLOOR_MS),
            (None, None) => self.plan.hedge_ms,
        };
        once.saturating_mul(self.patience)
    }

    pub(super) fn mark_late(&mut self, now: u64) {
        let patience = self.patience_ms();
        for state in &mut self.peers {
            if let PeerState::ExpectCommit { since, late, .. } = state {
                *late |= now >= since.saturating_add(patience);
            }
        }
    }

    pub(super) fn running(&self) -> usize {
        self.count(|s| matches!(s, PeerState::ExpectCommit { .. }))
    }

    pub(super) fn in_time(&self) -> usize {
        self.count(|s| matches!(s, PeerState::ExpectCommit { late: false, .. }))
    }

    pub(super) fn lost(&mut self, now: u64, p: Peer, why: LostWhy) {
        match (&mut self.peers[p], why) {
            (PeerState::Closed(_), _) => {}
            (_, LostWhy::Misbehaved(code, text)) => {
                self.breach(p, code, Closed::Lost(LostWhy::Misbehaved(code, text)));
            }
            // A signed commit counts even when its maker is gone; it just cannot deliver.
            (PeerState::Committed { gone, .. }, _) => *gone = true,
            // Others were faster between its Bid and its Dispatch: it is as busy as one that says so in its Bid.
            (PeerState::ExpectCommit { .. }, LostWhy::ResetByWorker(ResetCode::OverCapacity)) => {
                self.refused += 1;
                let detail = ResetCode::OverCapacity.to_string();
                self.busy(now, p, Decline { reason: DeclineReason::Busy, detail });
            }
            (PeerState::ExpectBid | PeerState::Appraising | PeerState::Held(_), why @ LostWhy::Disconnected(_)) => {
                self.close(p, Closed::Lost(why));
                self.ask_elsewhere(now, p);
            }
            (_, why) => self.close(p, Closed::Lost(why)),
        }
    }

    /// A message that cannot come now.
    pub(super) fn unexpected(&mut self, p: Peer) {
        self.breach(p, ResetCode::Unexpected, Closed::Reset(ResetCode::Unexpected));
    }

    /// Who breaks the protocol before quorum does not vote.
    fn breach(&mut self, p: Peer, code: ResetCode, why: Closed) {
        if matches!(self.peers[p], PeerState::Closed(_)) {
            return;
        }
        if self.phase == Phase::ExpectCommits && code.fault() == Fault::Receiver {
            self.votes.void(p);
        }
        self.reset_as(p, code, why);
    }
}
