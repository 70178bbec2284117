//! The requester's side of one job.
//!
//! Every candidate is in one [`PeerState`], named for what it awaits. The job as a whole moves from bids to commits to
//! the result; [`Job::advance`] looks at all peers after every event and decides what follows. A peer that fails at any
//! point is closed with its reason and, where a spare bid is held and the budget of executions allows it, replaced.

mod bids;
mod commits;
mod result;
mod state;
mod votes;

use std::collections::VecDeque;

use eider_protocol::{NodeId, ResetCode};

use state::Phase;
pub use state::{Action, Closed, DeliveryFailure, End, Event, LostWhy, Peer, PeerState, Split};
use votes::Votes;

use crate::draw::Network;
use crate::{Plan, PlanError};

/// The state of one job at its requester.
#[derive(Debug)]
pub struct Job {
    plan: Plan,
    seed: [u8; 32],
    started: u64,
    phase: Phase,
    peers: Vec<PeerState>,
    nodes: Vec<Option<NodeId>>,
    /// Where each node was met, by the candidate that it is.
    networks: Vec<Vec<Network>>,
    /// How often each has said that it is busy.
    busy_times: Vec<u32>,
    votes: Votes,
    /// When each was asked last, ms: its Bid is waited for from then on.
    asked: Vec<u64>,
    /// Seats drawn so far.
    dispatched: u32,
    /// Dispatches that were refused for want of capacity: nothing was executed for them.
    refused: u32,
    /// What patience is multiplied with: doubles with every replacement of a late worker.
    patience: u64,
    /// The outcome whose bytes were asked for: no other can be delivered any more.
    opened: Option<eider_protocol::Hash>,
    /// End of the queue of deliverers.
    orders: u64,
    /// When another of the quorum is asked for the result too, ms.
    delivery_due: u64,
    /// How long the next deliverer is believed, ms: doubles each time.
    delivery_ms: u64,
    actions: VecDeque<Action>,
    /// When what was handed in last happened, if nothing has followed from it yet.
    unseen: Option<u64>,
}

impl Job {
    /// A job that starts at `now` (milliseconds of any clock that only moves forward), for so many candidates,
    /// all of them being dialled. Seats are drawn with `seed`, see [`seat`](crate::seat); the seed is to be kept secret
    /// until all bids are in.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(plan: Plan, candidates: usize, seed: [u8; 32], now: u64) -> Result<Self, PlanError> {
        plan.check()?;
        Ok(Self {
            plan,
            seed,
            started: now,
            phase: Phase::ExpectBids,
            peers: vec![PeerState::ExpectConnection; candidates],
            nodes: vec![None; candidates],
            networks: vec![vec![]; candidates],
            busy_times: vec![0; candidates],
            votes: Votes::default(),
            asked: vec![now; candidates],
            dispatched: 0,
            refused: 0,
            patience: 1,
            opened: None,
            orders: 0,
            delivery_due: 0,
            delivery_ms: plan.stall_ms,
            actions: VecDeque::new(),
            unseen: Some(now),
        })
    }

    /// What to do next, until there is nothing. Looks at all peers once for all that was handed in since.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(now) = self.unseen.take() {
            self.advance(now);
        }
        self.actions.pop_front()
    }

    /// States of all peers, by index.
    pub fn peers(&self) -> &[PeerState] {
        &self.peers
    }

    /// Whether [`Action::End`] was given.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Who committed to what so far, largest group first.
    pub fn split(&self) -> Split {
        self.votes.split()
    }

    /// When [`Event::Tick`] is due if nothing else happens.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.is_ended() {
            return None;
        }
        let mut next = self.deadline();
        if self.pending() > 0 && self.phase == Phase::ExpectBids {
            next = next.min(self.dispatching_starts().unwrap_or(next));
        }
        if self.next_deliverer().is_some() && self.delivering() > 0 {
            next = next.min(self.delivery_due);
        }
        let patience = self.patience_ms();
        for (p, state) in self.peers.iter().enumerate() {
            match state {
                PeerState::ExpectConnection | PeerState::ExpectBid => next = next.min(self.bid_ends(p)),
                PeerState::ExpectCommit { since, seen, late } => {
                    next = next.min(seen.saturating_add(self.plan.stall_ms));
                    if !late {
                        next = next.min(since.saturating_add(patience));
                    }
                }
                PeerState::Busy { until, .. } => next = next.min(*until),
                _ => {}
            }
        }
        Some(next)
    }

    /// Takes in what happened at `now`; what follows from it, [`Self::poll_action`] says. What comes for a peer that is closed, or for a
    /// job that has ended, has no effect.
    ///
    /// A [`Event::Tick`] must not outrun events that have arrived already: the shell hands in all that it has before it
    /// lets time pass, or a worker is given up for silence that was its own.
    pub fn handle(&mut self, now: u64, event: Event) {
        if self.is_ended() {
            return;
        }
        match event {
            Event::Connected(p, node, network) => self.connected(p, node, network),
            Event::Unreachable(p, why) => {
                if self.peers[p] == PeerState::ExpectConnection {
                    self.close(p, Closed::Unreachable(why));
                }
            }
            Event::Bid(p, answer) => self.bid(now, p, answer),
            Event::Appraising(p) => {
                if self.peers[p] == PeerState::ExpectBid {
                    self.peers[p] = PeerState::Appraising;
                }
            }
            Event::Challenged(p) => {
                if self.peers[p] == PeerState::Appraising {
                    (self.peers[p], self.asked[p]) = (PeerState::ExpectBid, now);
                }
            }
            Event::Unfit(p, why) => self.unfit(p, why),
            Event::Progress(p) => {
                if let PeerState::ExpectCommit { seen, .. } = &mut self.peers[p] {
                    *seen = now;
                }
            }
            Event::Commit(p, outcome) => self.commit(now, p, outcome),
            Event::Delivered(p) => self.delivered(p),
            Event::DeliveryFailed(p, why) => self.delivery_failed(p, why),
            Event::Lost(p, why) => self.lost(now, p, why),
            Event::InputFailed(why) => self.end(End::InputFailed(why), ResetCode::InputChanged),
            Event::Cancel => self.end(End::Cancelled, ResetCode::Cancelled),
            Event::Tick => self.time_out(now),
        }
        self.unseen = Some(now);
    }

    fn deadline(&self) -> u64 {
        self.started.saturating_add(self.plan.deadline_ms)
    }

    fn bid_ends(&self, p: Peer) -> u64 {
        self.asked[p].saturating_add(self.plan.bid_timeout_ms)
    }

    fn time_out(&mut self, now: u64) {
        if now >= self.deadline() {
            return self.end(End::DeadlinePassed { split: self.split() }, ResetCode::DeadlinePassed);
        }
        let mut silent = vec![];
        for p in 0..self.peers.len() {
            let bid_over = now >= self.bid_ends(p);
            match self.peers[p] {
                PeerState::Busy { until, .. } if now >= until => self.ask_again(now, p),
                PeerState::ExpectConnection if bid_over => {
                    self.close(p, Closed::Unreachable(format!("no connection within {} ms", self.plan.bid_timeout_ms)));
                }
                PeerState::ExpectBid if bid_over => {
                    self.reset(p, ResetCode::Stalled);
                    silent.push(p);
                }
                PeerState::ExpectCommit { seen, .. } if now >= seen.saturating_add(self.plan.stall_ms) => {
                    self.reset(p, ResetCode::Stalled);
                }
                _ => {}
            }
        }
        for p in silent {
            self.ask_elsewhere(now, p);
        }
    }

    /// Looks at all peers and does what follows.
    fn advance(&mut self, now: u64) {
        self.mark_late(now);
        match self.phase {
            Phase::ExpectBids => self.advance_bids(now),
            Phase::ExpectCommits => self.advance_commits(now),
            Phase::ExpectResult(digest) => self.advance_result(now, digest),
            Phase::Ended => {}
        }
    }

    fn end(&mut self, end: End, code: ResetCode) {
        if self.is_ended() {
            return;
        }
        self.phase = Phase::Ended;
        for p in 0..self.peers.len() {
            match self.peers[p] {
                PeerState::Closed(_) => {}
                PeerState::Busy { .. } => self.give_up_busy(p),
                PeerState::Held(_) => self.reset(p, ResetCode::NotChosen),
                PeerState::Committed { gone: true, .. } => {
                    self.close(p, Closed::Lost(LostWhy::Disconnected("it left after its commit".into())));
                }
                _ => self.reset(p, code),
            }
        }
        self.actions.push_back(Action::End(end));
    }

    fn reset(&mut self, p: Peer, code: ResetCode) {
        self.reset_as(p, code, Closed::Reset(code));
    }

    /// Resets a peer's stream, if it has one, and closes it for this reason.
    fn reset_as(&mut self, p: Peer, code: ResetCode, why: Closed) {
        let streamless = matches!(
            self.peers[p],
            PeerState::ExpectConnection
                | PeerState::Busy { .. }
                | PeerState::Committed { gone: true, .. }
                | PeerState::Closed(_)
        );
        if !streamless {
            self.actions.push_back(Action::Reset(p, code));
        }
        self.close(p, why);
    }

    fn close(&mut self, p: Peer, why: Closed) {
        self.peers[p] = PeerState::Closed(why);
    }

    fn next_order(&mut self) -> u64 {
        self.orders += 1;
        self.orders
    }

    fn count(&self, which: impl Fn(&PeerState) -> bool) -> usize {
        self.peers.iter().filter(|s| which(s)).count()
    }
}
