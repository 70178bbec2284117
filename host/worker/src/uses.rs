//! What a connection is used for: how many uses there are, and since when there is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts uses of one kind.
#[derive(Clone)]
pub(crate) struct Uses(Arc<Mutex<State>>);

struct State {
    now: usize,
    /// When the last one ended.
    last: Instant,
}

/// A use, until it is dropped.
pub(crate) struct Use(Arc<Mutex<State>>);

/// The uses of a connection. A stream that is none of them keeps no connection.
#[derive(Clone)]
pub(crate) struct ConnectionUses {
    /// Bids in favour that wait for their Dispatch.
    pub(crate) bids: Uses,
    /// Jobs, from their Dispatch to their Settle, and deliveries.
    pub(crate) work: Uses,
}

impl Uses {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { now: 0, last: Instant::now() })))
    }

    pub(crate) fn begin(&self) -> Use {
        self.0.lock().now += 1;
        Use(self.0.clone())
    }

    /// For how long there has been none.
    fn idle(&self) -> Duration {
        let state = self.0.lock();
        if state.now > 0 { Duration::ZERO } else { state.last.elapsed() }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.now -= 1;
        state.last = Instant::now();
    }
}

impl ConnectionUses {
    pub(crate) fn new() -> Self {
        Self { bids: Uses::new(), work: Uses::new() }
    }

    /// Whether the connection has been of no use for so long. Where it holds one of the few places for wide windows, only work is a
    /// use.
    pub(crate) fn none_for(&self, time: Duration, wide: bool) -> bool {
        self.work.idle() > time && (wide || self.bids.idle() > time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bid_keeps_a_narrow_connection_and_work_any() {
        let uses = ConnectionUses::new();
        let none = |wide| {
            std::thread::sleep(Duration::from_millis(2));
            uses.none_for(Duration::from_millis(1), wide)
        };
        assert!(none(false) && none(true), "it was never used");
        let bid = uses.bids.begin();
        assert!(!none(false) && none(true));
        let (job, delivery) = (uses.work.begin(), uses.work.begin());
        drop((bid, job));
        assert!(!none(false) && !none(true));
        drop(delivery);
        assert!(!uses.none_for(Duration::from_secs(60), true), "it has just ended");
        assert!(none(false) && none(true));
    }
}
