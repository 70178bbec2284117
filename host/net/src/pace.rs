//! How slow a peer may be.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// A peer moves at least `least` bytes in every `within` of waiting for the network. Only time spent in waiting for the
/// stream counts: never our disk, our hashing or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes.
    pub least: u64,
    /// Of waiting.
    pub within: Duration,
}

/// The peer was slower than its pace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slow;

/// Measures one peer against its pace.
#[derive(Debug)]
pub(crate) struct Meter {
    pace: Pace,
    moved: u64,
    waited: Duration,
}

impl Meter {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, moved: 0, waited: Duration::ZERO }
    }

    /// Waits for the network, no longer than the pace still allows. What is ready is taken however late it is.
    pub(crate) async fn wait<T>(&mut self, network: impl Future<Output = T>) -> Result<T, Slow> {
        let started = Instant::now();
        let left = self.pace.within.saturating_sub(self.waited);
        let got = timeout(left, network).await.map_err(|_| Slow)?;
        self.waited += started.elapsed();
        Ok(got)
    }

    /// Counts what the peer took or gave.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if self.moved >= self.pace.least {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const PACE: Pace = Pace { least: 100, within: Duration::from_secs(10) };

    #[tokio::test(start_paused = true)]
    async fn silence_is_slow_and_drops_do_not_hide_it() {
        assert_eq!(Meter::new(PACE).wait(std::future::pending::<()>()).await, Err(Slow));
        let mut meter = Meter::new(PACE);
        let mut drops = 0;
        while meter.wait(sleep(Duration::from_secs(1))).await.is_ok() {
            meter.moved(1);
            drops += 1;
        }
        assert!((9..=10).contains(&drops), "{drops}");
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_time_does_not_count() {
        let mut meter = Meter::new(PACE);
        for _ in 0..50 {
            assert_eq!(meter.wait(sleep(Duration::from_millis(100))).await, Ok(()));
            meter.moved(1);
            sleep(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_keeps_its_pace_goes_on_for_ever() {
        let mut meter = Meter::new(PACE);
        for _ in 0..1_000 {
            assert_eq!(meter.wait(sleep(Duration::from_secs(9))).await, Ok(()));
            meter.moved(100);
        }
    }
}
