//! What a requester asks of a job's execution.

use std::cmp::Reverse;

use eider_protocol::Accept;

/// Which of the acceptable bids come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preference {
    /// Soonest start, then lowest price.
    #[default]
    Fast,
    /// Lowest price, then soonest start.
    Cheap,
}

/// How many run a job, how many must agree, and how long anybody is waited for. Times are in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Executions at a time.
    pub k: usize,
    /// Equal commits that make a result.
    pub quorum: usize,
    /// Order of bids.
    pub prefer: Preference,
    /// Bids above this price are not taken, in micro-credits.
    pub max_price: u64,
    /// With k bids in hand, others are waited for until this long after the start.
    pub bid_window_ms: u64,
    /// A candidate that has neither connected nor bid by then is given up.
    pub bid_timeout_ms: u64,
    /// A worker that shows no sign of life for this long is replaced.
    pub stall_ms: u64,
    /// The job ends by then, whatever happens.
    pub deadline_ms: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            k: 3,
            quorum: 2,
            prefer: Preference::Fast,
            max_price: 0,
            bid_window_ms: 250,
            bid_timeout_ms: 5_000,
            stall_ms: 5_000,
            deadline_ms: 600_000,
        }
    }
}

/// Numbers that make no plan.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum PlanError {
    /// No quorum, or one that k workers cannot reach.
    #[error("a quorum of {quorum} of {k} cannot be: it must be at least 1 and at most k")]
    Quorum {
        /// Agreeing workers asked for.
        quorum: usize,
        /// Workers asked for.
        k: usize,
    },
    /// Two different results could both have quorum.
    #[error("a quorum of {quorum} of {k} is no majority: two different results could both reach it; ask for at least {}", k / 2 + 1)]
    NoMajority {
        /// Agreeing workers asked for.
        quorum: usize,
        /// Workers asked for.
        k: usize,
    },
}

impl Plan {
    /// # Errors
    /// [`PlanError`].
    pub fn check(&self) -> Result<(), PlanError> {
        let (k, quorum) = (self.k, self.quorum);
        if quorum == 0 || quorum > k {
            return Err(PlanError::Quorum { quorum, k });
        }
        if quorum * 2 <= k {
            return Err(PlanError::NoMajority { quorum, k });
        }
        Ok(())
    }

    /// Sort key of a bid: smaller is better.
    pub(crate) fn rank(&self, bid: &Accept) -> (u64, u64, Reverse<u64>) {
        match self.prefer {
            Preference::Fast => (bid.eta_ms, bid.price, Reverse(bid.free_memory)),
            Preference::Cheap => (bid.price, bid.eta_ms, Reverse(bid.free_memory)),
        }
    }
}
