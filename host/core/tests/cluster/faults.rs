//! What can be wrong with a simulated worker.

use eider_protocol::{FailureKind, Hash, Metering, Outcome};
use rand::RngExt;
use rand::rngs::StdRng;

/// Groups of a simulated result.
pub(crate) const GROUPS: u64 = 4;
/// Longest run of a worker that is not slow, ms.
pub(crate) const RUN_MS: u64 = 1_500;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    /// Honest, and bids long after the others.
    SlowBid,
    /// Honest, and runs the job for longer than others are believed.
    SlowRun,
    /// Honest, and every second of its deliveries is too slow.
    SlowDelivery,
    /// Agrees, and sends a byte now and then for ever.
    Drip,
    /// Agrees, and delivers at the slowest pace that is not too slow.
    Leisure,
    /// Honest, and others were faster between its first Bid and its Dispatch.
    OverCapacity,
    Unreachable,
    Silent,
    DeclineSmall,
    DeclineBusy,
    /// Claims to start after the deadline.
    BidTooLate,
    Unfit,
    Crash,
    Stall,
    /// Says Progress for ever.
    Busy,
    LieInCommit,
    /// Lies a millisecond after the Dispatch, as all of its kind do, and bids as if it were the best of all.
    Collude,
    LieInDelivery,
    CommitAndVanish,
    Equivocate,
    /// Contradicts itself when the result is on its way.
    EquivocateLate,
    CommitTwice,
    BreakDelivery,
    OutOfOrder,
    Duplicate,
}

pub(crate) const FAULTS: [Fault; 26] = [
    Fault::None,
    Fault::SlowBid,
    Fault::SlowRun,
    Fault::SlowDelivery,
    Fault::Drip,
    Fault::Leisure,
    Fault::OverCapacity,
    Fault::Unreachable,
    Fault::Silent,
    Fault::DeclineSmall,
    Fault::DeclineBusy,
    Fault::BidTooLate,
    Fault::Unfit,
    Fault::Crash,
    Fault::Stall,
    Fault::Busy,
    Fault::LieInCommit,
    Fault::Collude,
    Fault::LieInDelivery,
    Fault::CommitAndVanish,
    Fault::Equivocate,
    Fault::EquivocateLate,
    Fault::CommitTwice,
    Fault::BreakDelivery,
    Fault::OutOfOrder,
    Fault::Duplicate,
];

impl Fault {
    /// Does all that is asked of it, in its own time.
    pub(crate) fn is_honest(self) -> bool {
        matches!(self, Self::None | Self::SlowBid | Self::SlowRun | Self::SlowDelivery | Self::OverCapacity)
    }

    /// Commits to the truth in no more than [`RUN_MS`], and to nothing else.
    pub(crate) fn is_fast(self) -> bool {
        matches!(self, Self::None | Self::SlowBid | Self::SlowDelivery)
    }

    /// May be blamed: it tells lies or breaks the protocol. All others never may.
    pub(crate) fn is_breach(self) -> bool {
        self.is_liar() || matches!(self, Self::LieInDelivery | Self::CommitTwice | Self::OutOfOrder)
    }

    /// Signs something else than the truth.
    pub(crate) fn is_liar(self) -> bool {
        matches!(self, Self::LieInCommit | Self::Collude) || self.equivocates()
    }

    pub(crate) fn equivocates(self) -> bool {
        matches!(self, Self::Equivocate | Self::EquivocateLate)
    }

    /// Takes a Dispatch and gives no vote for the truth.
    pub(crate) fn wastes_a_dispatch(self) -> bool {
        self.is_liar() || matches!(self, Self::Crash | Self::Stall | Self::Busy | Self::CommitTwice | Self::OutOfOrder)
    }

    /// May vote for the truth and not deliver it.
    pub(crate) fn spoils_delivery(self) -> bool {
        matches!(
            self,
            Self::Drip
                | Self::LieInDelivery
                | Self::BreakDelivery
                | Self::CommitAndVanish
                | Self::CommitTwice
                | Self::OutOfOrder
        )
    }
}

pub(crate) fn truth(fails: bool) -> Outcome {
    if fails {
        return Outcome::Failed {
            kind: FailureKind::Query,
            message: "Binder Error".into(),
            metering: Metering::default(),
        };
    }
    completed(1)
}

/// Liars may collude: few different lies.
pub(crate) fn lie(rng: &mut StdRng) -> Outcome {
    completed(rng.random_range(2..4))
}

pub(crate) fn completed(root: u8) -> Outcome {
    let metering = Metering { fuel: None, bytes_read: 1, reads: 1, memory: 1 };
    Outcome::Completed { root: Hash::from_bytes([root; 32]), length: GROUPS, rows: 1, metering }
}
