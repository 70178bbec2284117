//! From candidates to seats.

use eider_protocol::{Accept, Decline, DeclineReason, NodeId, ResetCode};

use super::Job;
use super::state::{Action, Closed, End, Peer, PeerState, Phase};
use crate::draw::{Network, seat, weights};

/// A busy candidate is asked again after this time at first, and after twice as long each time.
const BUSY_FIRST_MS: u64 = 100;
/// The longest such time.
const BUSY_MOST_MS: u64 = 2_000;

impl Job {
    pub(super) fn connected(&mut self, p: Peer, node: NodeId, network: Network) {
        if self.peers[p] != PeerState::ExpectConnection {
            return;
        }
        if let Some(other) = self.nodes.iter().position(|n| *n == Some(node)) {
            self.networks[other].push(network);
            return self.close(p, Closed::Duplicate(other));
        }
        self.nodes[p] = Some(node);
        self.networks[p].push(network);
        self.peers[p] = PeerState::ExpectBid;
        self.actions.push_back(Action::Offer(p));
    }

    /// A node that cannot be reached as this candidate any more, before it had the task, is offered the job as another that it
    /// was met as: a stranger who passes datagrams on, and stops, takes nobody away.
    pub(super) fn ask_elsewhere(&mut self, now: u64, p: Peer) {
        let same = |s: &PeerState| *s == PeerState::Closed(Closed::Duplicate(p));
        let Some(q) = self.peers.iter().position(same) else { return };
        self.nodes[q] = self.nodes[p].take();
        self.networks[q] = std::mem::take(&mut self.networks[p]);
        for state in self.peers.iter_mut().filter(|s| same(s)) {
            *state = PeerState::Closed(Closed::Duplicate(q));
        }
        self.ask_again(now, q);
    }

    /// What a bid claims can only rule it out.
    pub(super) fn bid(&mut self, now: u64, p: Peer, answer: Result<Accept, Decline>) {
        if !matches!(self.peers[p], PeerState::ExpectBid | PeerState::Appraising) {
            return self.unexpected(p);
        }
        match answer {
            Err(decline) if decline.reason == DeclineReason::Busy => self.busy(now, p, decline),
            Err(decline) => self.close(p, Closed::Declined(decline)),
            Ok(bid) if bid.price > self.plan.max_price => self.not_chosen(p, Closed::TooExpensive(bid.price)),
            Ok(bid) if now.saturating_add(bid.eta_ms) >= self.deadline() => {
                self.not_chosen(p, Closed::TooLate(bid.eta_ms));
            }
            Ok(bid) => self.peers[p] = PeerState::Held(bid),
        }
    }

    /// A busy candidate is asked again, after longer and longer times, for as long as the plan waits for such.
    pub(super) fn busy(&mut self, now: u64, p: Peer, decline: Decline) {
        let times = self.busy_times[p];
        self.busy_times[p] = times.saturating_add(1);
        let until = now.saturating_add((BUSY_FIRST_MS << times.min(16)).min(BUSY_MOST_MS));
        let ends = self.started.saturating_add(self.plan.busy_ms).min(self.deadline());
        self.peers[p] = if until >= ends {
            PeerState::Closed(Closed::Declined(decline))
        } else {
            PeerState::Busy { until, decline }
        };
    }

    /// A candidate gets the Offer again, or for the first time as this one.
    pub(super) fn ask_again(&mut self, now: u64, p: Peer) {
        self.peers[p] = PeerState::ExpectBid;
        self.asked[p] = now;
        self.actions.push_back(Action::Offer(p));
    }

    pub(super) fn give_up_busy(&mut self, p: Peer) {
        if let PeerState::Busy { decline, .. } = &self.peers[p] {
            self.peers[p] = PeerState::Closed(Closed::Declined(decline.clone()));
        }
    }

    pub(super) fn unfit(&mut self, p: Peer, why: String) {
        if matches!(self.peers[p], PeerState::ExpectBid | PeerState::Appraising) {
            self.not_chosen(p, Closed::Unfit(why));
        }
    }

    fn not_chosen(&mut self, p: Peer, why: Closed) {
        self.reset_as(p, ResetCode::NotChosen, why);
    }

    pub(super) fn advance_bids(&mut self, now: u64) {
        let start = self.dispatching_starts();
        if self.pending() > 0 && start.is_none_or(|at| now < at) {
            return;
        }
        if self.held() < self.plan.quorum {
            return self.end(self.too_few(), ResetCode::JobEnded);
        }
        self.phase = Phase::ExpectCommits;
        self.advance_commits(now);
    }

    /// When the bids in hand suffice, though others may still come.
    pub(super) fn dispatching_starts(&self) -> Option<u64> {
        let after = |wanted, ms: u64| (self.held() >= wanted).then(|| self.started.saturating_add(ms));
        let window = after(self.plan.k, self.plan.bid_window_ms);
        let grace = after(self.plan.quorum, self.plan.bid_grace_ms);
        window.into_iter().chain(grace).min()
    }

    /// Draws the next seat among the held bids and dispatches to it, if there is one and the budget allows it.
    pub(super) fn dispatch_next(&mut self, now: u64) -> bool {
        if self.budget_left() == 0 {
            return false;
        }
        let peers: Vec<(Peer, NodeId)> = (0..self.peers.len())
            .filter(|p| matches!(self.peers[*p], PeerState::Held(_)))
            .filter_map(|p| Some((p, self.nodes[p]?)))
            .collect();
        let weights = weights(peers.iter().map(|(p, _)| &*self.networks[*p]));
        let held: Vec<_> = peers.iter().zip(&weights).map(|((_, node), weight)| (*node, *weight)).collect();
        let Some(drawn) = seat(&self.seed, self.dispatched, &held) else { return false };
        let (p, n) = (peers[drawn].0, self.dispatched);
        self.dispatched += 1;
        self.peers[p] = PeerState::ExpectCommit { since: now, seen: now, late: false };
        let among = peers.into_iter().map(|(p, _)| p).zip(weights).collect();
        self.actions.push_back(Action::Dispatch { peer: p, seat: n, among });
        true
    }

    /// Executions that the plan still pays for. A Dispatch that was refused is none; how many of those there can be is
    /// bounded by how often a busy candidate is asked again.
    pub(super) fn budget_left(&self) -> usize {
        self.plan.executions.saturating_sub((self.dispatched - self.refused) as usize)
    }

    pub(super) fn held(&self) -> usize {
        self.count(|s| matches!(s, PeerState::Held(_)))
    }

    /// Candidates that may still bid.
    pub(super) fn pending(&self) -> usize {
        // Nobody waits for a busy candidate while enough others would run the job.
        let busy_count = self.phase != Phase::ExpectBids || self.held() < self.plan.quorum;
        self.count(|s| match s {
            PeerState::ExpectConnection | PeerState::ExpectBid | PeerState::Appraising => true,
            PeerState::Busy { .. } => busy_count,
            _ => false,
        })
    }

    fn too_few(&self) -> End {
        let too_small =
            self.count(|s| matches!(s, PeerState::Closed(Closed::Declined(d)) if d.reason == DeclineReason::TooLarge));
        if too_small > 0 && too_small + self.held() >= self.plan.quorum {
            End::ExceedsCapacity
        } else {
            End::NoCandidates
        }
    }
}
