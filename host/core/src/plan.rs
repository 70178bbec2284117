//! What a requester asks of a job's execution.

/// How many run a job, how many must agree, and how long anybody is waited for. Times are in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Executions at a time.
    pub k: usize,
    /// Equal commits that make a result.
    pub quorum: usize,
    /// Bids above this price are not taken, in micro-credits.
    pub max_price: u64,
    /// Executions that the job may cause in all, whatever workers say or do.
    pub executions: usize,
    /// With k bids in hand, others are waited for until this long after the start.
    pub bid_window_ms: u64,
    /// With a quorum of bids in hand, silent candidates are waited for until this long after the start.
    pub bid_grace_ms: u64,
    /// A candidate that has neither connected nor bid by then is given up.
    pub bid_timeout_ms: u64,
    /// Candidates that are busy are asked again until this long after the start, while too few are not.
    pub busy_ms: u64,
    /// A worker that shows no sign of life for this long is replaced.
    pub stall_ms: u64,
    /// Workers that show signs of life are believed for this long while nobody has committed.
    pub hedge_ms: u64,
    /// The job ends by then, whatever happens.
    pub deadline_ms: u64,
}

/// Two of three, within ten minutes.
impl Default for Plan {
    fn default() -> Self {
        Self::new(3, 2, 600_000)
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
    /// The budget does not even pay for the first k.
    #[error("{executions} executions do not suffice for {k} workers at a time: allow at least {k}")]
    Executions {
        /// Executions allowed.
        executions: usize,
        /// Workers asked for.
        k: usize,
    },
}

impl Plan {
    /// A plan with the usual patience, free of charge. Its budget pays for a whole second try at a quorum.
    pub const fn new(k: usize, quorum: usize, deadline_ms: u64) -> Self {
        Self {
            k,
            quorum,
            max_price: 0,
            executions: k.saturating_add(quorum),
            bid_window_ms: 250,
            bid_grace_ms: 1_000,
            bid_timeout_ms: 5_000,
            stall_ms: 5_000,
            busy_ms: 30_000,
            hedge_ms: deadline_ms / 8,
            deadline_ms,
        }
    }

    /// # Errors
    /// [`PlanError`].
    pub fn check(&self) -> Result<(), PlanError> {
        let (k, quorum, executions) = (self.k, self.quorum, self.executions);
        if quorum == 0 || quorum > k {
            return Err(PlanError::Quorum { quorum, k });
        }
        if quorum <= k / 2 {
            return Err(PlanError::NoMajority { quorum, k });
        }
        if executions < k {
            return Err(PlanError::Executions { executions, k });
        }
        Ok(())
    }
}
