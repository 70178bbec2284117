//! One behaviour of the requester's machine a test, each played by hand.
#![allow(clippy::unwrap_used, missing_docs)]

mod bids;
mod commits;
mod result;

use std::collections::HashSet;

use eider_core::{
    Action, Closed, DeliveryFailure, End, Event, Job, LostWhy, Network, Peer, PeerState, Plan, PlanError,
};
use eider_protocol::{Accept, FailureKind, Hash, Metering, NodeId, Outcome, ResetCode, Verdict};

fn node(p: Peer) -> NodeId {
    NodeId::from_bytes([u8::try_from(p).unwrap(); 32])
}

fn accept(eta_ms: u64, free_memory: u64) -> Accept {
    Accept { eta_ms, price: 0, free_memory, free_jobs: 1 }
}

fn outcome(root: u8) -> Outcome {
    let metering = Metering { fuel: None, bytes_read: 1, reads: 1, memory: 1 };
    Outcome::Completed { root: Hash::from_bytes([root; 32]), length: 4, rows: 1, metering }
}

/// A job, its time, and all that it did.
struct Play {
    job: Job,
    now: u64,
    n: usize,
    dispatched: Vec<Peer>,
    actions: Vec<Action>,
}

impl Play {
    fn new(plan: Plan, n: usize) -> Self {
        Self::seeded(plan, n, [1; 32])
    }

    fn seeded(plan: Plan, n: usize, seed: [u8; 32]) -> Self {
        let job = Job::new(plan, n, seed, 0).unwrap();
        let mut play = Self { job, now: 0, n, dispatched: vec![], actions: vec![] };
        for p in 0..n {
            play.on(Event::Connected(p, node(p), Network(u32::try_from(p).unwrap())));
        }
        play
    }

    /// A job with so many bids in hand, and k of them dispatched.
    fn dispatched(plan: Plan, n: usize) -> Self {
        let mut play = Self::new(plan, n);
        for p in 0..n {
            play.on(Event::Bid(p, Ok(accept(0, 1))));
        }
        assert_eq!(play.dispatched.len(), plan.k);
        play
    }

    /// What it does at that.
    fn on(&mut self, event: Event) -> Vec<Action> {
        self.job.handle(self.now, event);
        let actions: Vec<_> = std::iter::from_fn(|| self.job.poll_action()).collect();
        for action in &actions {
            if let Action::Dispatch { peer: p, .. } = action {
                self.dispatched.push(*p);
            }
        }
        self.actions.extend(actions.clone());
        actions
    }

    /// The next of those that run commits to this.
    fn commit(&mut self, p: Peer, root: u8) -> Vec<Action> {
        self.on(Event::Commit(p, outcome(root)))
    }

    /// Lets time pass; everybody who runs says Progress.
    fn until(&mut self, end: u64) {
        while self.now < end {
            let Some(timeout) = self.job.next_timeout() else { return };
            self.now = timeout.clamp(self.now, end).min(self.now + 1_000);
            for p in self.running() {
                self.on(Event::Progress(p));
            }
            self.on(Event::Tick);
        }
    }

    fn running(&self) -> Vec<Peer> {
        (0..self.n).filter(|p| matches!(self.job.peers()[*p], PeerState::ExpectCommit { .. })).collect()
    }

    fn state(&self, p: Peer) -> &PeerState {
        &self.job.peers()[p]
    }

    fn end(&self) -> Option<&End> {
        match self.actions.last() {
            Some(Action::End(end)) => Some(end),
            _ => None,
        }
    }

    fn nobody_is_at_fault(&self) -> bool {
        !self.job.peers().iter().any(|s| s.fault().is_some())
    }
}
