//! From a quorum to its bytes.

use eider_protocol::{Hash, ResetCode, Verdict};

use super::Job;
use super::state::{Action, Closed, DeliveryFailure, End, LostWhy, Peer, PeerState, Phase};

impl Job {
    pub(super) fn delivered(&mut self, p: Peer) {
        let PeerState::ExpectResult { order, digest } = self.peers[p] else { return };
        if self.phase != Phase::ExpectResult(digest) {
            // The quorum was lost meanwhile. Whoever is asked when it is back finds that nothing is left to send.
            self.peers[p] = PeerState::Committed { order, digest, gone: false };
            return;
        }
        let Some(outcome) = self.votes.outcome(digest).cloned() else { return };
        let agreed = self.votes.agreed(digest);
        self.settle(digest, Some(p));
        self.end(End::Verified { outcome, agreed, deliverer: p }, ResetCode::QuorumReached);
    }

    /// Slowness is no fault: the peer waits for its next turn.
    pub(super) fn delivery_failed(&mut self, p: Peer, why: DeliveryFailure) {
        let PeerState::ExpectResult { digest, .. } = self.peers[p] else { return };
        match why {
            DeliveryFailure::WrongBytes => self.reset(p, ResetCode::WrongBytes),
            DeliveryFailure::Broken => {
                self.close(p, Closed::Lost(LostWhy::Disconnected("the delivery broke off".into())));
            }
            DeliveryFailure::Slow => {
                self.peers[p] = PeerState::Committed { order: self.next_order(), digest, gone: false };
            }
        }
    }

    pub(super) fn delivering(&self) -> usize {
        self.count(|s| matches!(s, PeerState::ExpectResult { .. }))
    }

    /// Who of the quorum is asked next for its result, and its place in the queue.
    pub(super) fn next_deliverer(&self) -> Option<(u64, Peer)> {
        let Phase::ExpectResult(digest) = self.phase else { return None };
        let waiting = (0..self.peers.len()).filter_map(|p| match self.peers[p] {
            PeerState::Committed { order, digest: d, gone: false } if d == digest => Some((order, p)),
            _ => None,
        });
        waiting.min()
    }

    /// There is a deliverer, or somebody on the way to become one, or the job ends. Nobody holds a delivery for longer than
    /// patience: then another of the quorum is asked beside it, and who stays behind ends as slow.
    pub(super) fn advance_result(&mut self, now: u64, digest: Hash) {
        let delivering = self.delivering() > 0;
        if delivering && now < self.delivery_due {
            return;
        }
        if let Some((order, p)) = self.next_deliverer() {
            self.opened = Some(digest);
            self.peers[p] = PeerState::ExpectResult { order, digest };
            self.actions.push_back(Action::Verify(p));
            self.delivery_due = now.saturating_add(self.delivery_ms);
            self.delivery_ms = self.delivery_ms.saturating_mul(2);
            return;
        }
        if delivering {
            return;
        }
        let running = self.running();
        if self.in_time() > 0 {
            return;
        }
        if self.dispatch_next(now) {
            if running > 0 {
                self.patience = self.patience.saturating_mul(2);
            }
        } else if running == 0 && self.pending() == 0 {
            self.end(End::NoDelivery { digest }, ResetCode::JobEnded);
        }
    }

    /// Verdicts for all whose commit was the quorum's and whose stream stands.
    pub(super) fn settle(&mut self, digest: Hash, deliverer: Option<Peer>) {
        for p in 0..self.peers.len() {
            let verdict = match self.peers[p] {
                PeerState::ExpectResult { .. } if deliverer == Some(p) => Verdict::Delivered,
                PeerState::Committed { digest: d, gone: false, .. } | PeerState::ExpectResult { digest: d, .. }
                    if d == digest =>
                {
                    Verdict::Agreed
                }
                _ => continue,
            };
            self.actions.push_back(Action::Settle(p, verdict, digest));
            self.close(p, Closed::Settled(verdict));
        }
    }
}
