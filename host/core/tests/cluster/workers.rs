//! What simulated workers do at each action of the machine.

use eider_core::{Action, DeliveryFailure, Event, LostWhy, Network, Peer};
use eider_protocol::{Accept, Decline, DeclineReason, NodeId, ResetCode};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::faults::{Fault, GROUPS, RUN_MS, completed, lie};
use crate::world::{Cluster, Happening};

/// What the simulated shell takes for a delivery that is too slow, ms.
const SLOW_MS: u64 = 5_000;

impl Cluster {
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Offer(p) => self.offered(p),
            Action::Dispatch { peer: p, .. } => {
                assert!(self.dispatched.insert(p, self.now).is_none(), "{}", self.report("dispatched twice"));
                self.moved = self.now;
                if self.faults[p] == Fault::OverCapacity && self.refused.insert(p) {
                    let why = LostWhy::ResetByWorker(ResetCode::OverCapacity);
                    return self.later(1, 100, Event::Lost(p, why));
                }
                self.ran(p);
            }
            Action::Verify(p) => self.verify(p),
            Action::Settle(p, ..) | Action::Reset(p, _) => {
                self.delivering.remove(&p);
            }
            Action::End(end) => {
                assert!(self.end.is_none(), "{}", self.report("two ends"));
                self.end = Some(end);
            }
        }
    }

    fn offered(&mut self, p: Peer) {
        let no = |reason| Event::Bid(p, Err(Decline { reason, detail: String::new() }));
        let yes = |eta_ms, free_memory| Event::Bid(p, Ok(Accept { eta_ms, price: 0, free_memory, free_jobs: 1 }));
        let (eta_ms, memory) = (self.rng.random_range(0..3), self.rng.random_range(1..9));
        match self.faults[p] {
            Fault::Silent => {}
            Fault::DeclineSmall => self.later(1, 400, no(DeclineReason::TooLarge)),
            Fault::DeclineBusy => self.later(1, 400, no(DeclineReason::Busy)),
            Fault::Unfit => {
                self.later(1, 400, Event::Appraising(p));
                self.later(401, 9_000, Event::Unfit(p, "no evidence".into()));
            }
            Fault::Collude => self.later(1, 1, yes(0, 1 << 50)),
            Fault::BidTooLate => self.later(1, 400, yes(600_000, 1)),
            Fault::SlowBid => self.later(400, 2_900, yes(eta_ms, memory)),
            _ => self.later(1, 400, yes(eta_ms, memory)),
        }
    }

    fn ran(&mut self, p: Peer) {
        let (truth, lie) = (self.truth.clone(), lie(&mut self.rng));
        match self.faults[p] {
            Fault::Crash => self.later(1, 500, Event::Lost(p, LostWhy::Disconnected("crash".into()))),
            Fault::Stall => {}
            Fault::Busy => {
                // For as long as anybody could listen.
                for at in 1..200 {
                    self.later(at * 3_000, at * 3_000, Event::Progress(p));
                }
            }
            Fault::LieInCommit => self.later(1, 800, Event::Commit(p, lie)),
            Fault::Collude => self.later(1, 1, Event::Commit(p, completed(2))),
            Fault::CommitAndVanish => {
                self.later(1, 400, Event::Commit(p, truth));
                self.later(401, 402, Event::Lost(p, LostWhy::Disconnected("gone".into())));
            }
            Fault::Equivocate => {
                self.later(1, 400, Event::Commit(p, truth));
                self.later(401, 500, Event::Commit(p, lie));
            }
            Fault::EquivocateLate => {
                self.later(1, 400, Event::Commit(p, truth));
                self.later(401, 4_000, Event::Commit(p, lie));
            }
            Fault::CommitTwice => {
                self.later(1, 400, Event::Commit(p, truth.clone()));
                self.later(401, 500, Event::Commit(p, truth));
            }
            Fault::OutOfOrder => {
                self.later(1, 200, Event::Bid(p, Err(Decline { reason: DeclineReason::Busy, detail: String::new() })));
                self.later(1, 400, Event::Commit(p, truth));
            }
            Fault::SlowRun => {
                for at in 1..=6 {
                    self.later(at * 2_000, at * 2_000, Event::Progress(p));
                }
                self.later(RUN_MS, 13_000, Event::Commit(p, truth));
            }
            _ => {
                self.later(1, 200, Event::Progress(p));
                self.later(1, RUN_MS, Event::Commit(p, truth));
            }
        }
    }

    fn verify(&mut self, p: Peer) {
        assert!(!self.delivering.contains_key(&p), "{}", self.report("two deliveries of one"));
        if self.verified == GROUPS {
            // Nothing is left to send.
            return self.later(1, 5, Event::Delivered(p));
        }
        self.deliveries += 1;
        self.delivering.insert(p, (self.deliveries, self.verified));
        self.next_group(p, self.deliveries);
    }

    fn next_group(&mut self, p: Peer, id: u64) {
        let half = self.rng.random_bool(0.5);
        match self.faults[p] {
            Fault::Drip => self.happens(SLOW_MS, SLOW_MS, Happening::NoGroup(p, id)),
            Fault::SlowDelivery if half => self.happens(SLOW_MS, SLOW_MS, Happening::NoGroup(p, id)),
            Fault::Leisure => self.happens(SLOW_MS - 1_000, SLOW_MS - 1, Happening::Group(p, id)),
            // The shell does not count the time that its own user takes.
            _ if self.slow_reader => self.happens(3_000, 8_000, Happening::Group(p, id)),
            _ => self.happens(1, 30, Happening::Group(p, id)),
        }
    }

    pub(crate) fn group(&mut self, p: Peer, id: u64) {
        let half = self.rng.random_bool(0.5);
        let failed = match self.faults[p] {
            // The lie is in some group; what came before it was right.
            Fault::LieInDelivery if half || self.delivering[&p].1 + 1 == GROUPS => Some(DeliveryFailure::WrongBytes),
            Fault::BreakDelivery if half => Some(DeliveryFailure::Broken),
            _ => None,
        };
        if let Some(why) = failed {
            self.delivering.remove(&p);
            return self.hand_in(Event::DeliveryFailed(p, why));
        }
        let at = self.delivering[&p].1 + 1;
        self.delivering.insert(p, (id, at));
        if at < self.verified {
            // Another is ahead of it.
            self.delivering.remove(&p);
            return self.hand_in(Event::DeliveryFailed(p, DeliveryFailure::Slow));
        }
        self.verified = at;
        if at < GROUPS {
            return self.next_group(p, id);
        }
        self.delivering.remove(&p);
        self.hand_in(Event::Delivered(p));
    }
}

/// Anything that a shell could report of a peer.
pub(crate) fn any_event(p: Peer, rng: &mut StdRng) -> Event {
    match rng.random_range(0..12) {
        0 => Event::Connected(p, NodeId::from_bytes([200; 32]), Network(200)),
        1 => Event::Unreachable(p, "late".into()),
        2 => Event::Bid(p, Ok(Accept { eta_ms: 0, price: 0, free_memory: 1, free_jobs: 1 })),
        3 => Event::Bid(p, Err(Decline { reason: DeclineReason::Busy, detail: String::new() })),
        4 if rng.random_bool(0.3) => Event::Appraising(p),
        4 if rng.random_bool(0.5) => Event::Challenged(p),
        4 => Event::Unfit(p, "late".into()),
        5 => Event::Progress(p),
        6 => Event::Commit(p, lie(rng)),
        7 => Event::Delivered(p),
        8 => Event::DeliveryFailed(p, DeliveryFailure::WrongBytes),
        9 => Event::DeliveryFailed(p, DeliveryFailure::Slow),
        10 => Event::Lost(p, LostWhy::Misbehaved(ResetCode::Malformed, "late".into())),
        _ => Event::Lost(p, LostWhy::Disconnected("late".into())),
    }
}
