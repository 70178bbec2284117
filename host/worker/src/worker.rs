//! A worker that is up: what its parts share, and its beginning and end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_std::fs::Dir;
use eider_core::{Admission, Donation, EngineStand};
use eider_inputs::{CacheError, InputCache};
use eider_net::{Endpoint, EndpointError, Gate, GateLimits, Prefix};
use eider_protocol::{Hash, Identity, NodeId, OfferId, ResetCode, SealingKey};
use eider_runner::{Disk, Runner};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept;
use crate::collateral;
use crate::deliver::Results;
use crate::engines::{self, EngineSetup, Engines};
use crate::evidence::{Attester, Desk};
use crate::places::Places;

/// Large Dispatches that are read at a time: 4 MiB each.
const LARGE: usize = 16;
/// Those from one network.
const LARGE_PER_NETWORK: usize = 4;
/// Jobs that run and outcomes that are kept for requesters of one network: a quarter of all.
const RESULTS_PER_NETWORK: usize = 256;
/// Bids in favour that wait for their Dispatch: each is a stream that is held open.
const BIDS: usize = 4_096;
/// Those of one network: a quarter of all.
const BIDS_PER_NETWORK: usize = BIDS / 4;
/// Those of one requester.
const BIDS_PER_REQUESTER: usize = 64;
/// How often what was fetched is made to last, and results whose time is up are given back.
const TIDY_EVERY: Duration = Duration::from_secs(2);
/// How long a worker that goes down waits for its tasks, and then for its peers to be told.
const SHUTDOWN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(500));

/// What a worker needs.
pub struct WorkerSetup {
    /// Who it is.
    pub identity: Identity,
    /// Where it listens, UDP.
    pub listen: SocketAddr,
    /// What its owner gives.
    pub donation: Donation,
    /// The engines that it knows: the profiles that it has images for, or why it does not run one.
    pub engines: BTreeMap<Hash, EngineStand>,
    /// How engines are taken that it does not know; none are, without.
    pub taking: Option<EngineSetup>,
    /// Jobs that hold a part of the donation: kept up to date by the worker.
    pub running: Arc<AtomicUsize>,
    /// Why no job is to be taken or run now, if none is; watched for as long as the worker lives.
    pub closed: watch::Receiver<Option<String>>,
    /// Where inputs are cached; nothing else is in it.
    pub cache: Dir,
    /// Bytes that results take on the disk; the runner counts them here.
    pub spooled: Arc<Spooled>,
    /// What runs jobs.
    pub runner: Arc<dyn Runner>,
    /// What vouches for this machine, if anything.
    pub attester: Option<Arc<dyn Attester>>,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Its cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Its sealing key.
    #[error("the operating system gives no randomness")]
    Random,
    /// Its socket.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
}

/// Bytes that results take of the donation's disk, small ones in memory. What they take, cached inputs that no job uses give back.
#[derive(Debug)]
pub struct Spooled {
    disk: u64,
    state: Mutex<(u64, Option<InputCache>)>,
}

impl Spooled {
    /// For a donation of so many bytes of disk.
    pub fn new(disk: u64) -> Arc<Self> {
        Arc::new(Self { disk, state: Mutex::new((0, None)) })
    }

    /// Bytes that results take now.
    pub fn used(&self) -> u64 {
        self.state.lock().0
    }

    fn attach(&self, cache: InputCache) {
        self.state.lock().1 = Some(cache);
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        let cache = {
            let mut state = self.state.lock();
            state.0 = to(state.0);
            state.1.clone()
        };
        if let Some(cache) = cache {
            // Not under our lock, since files may be removed; the cache asks under its own what is used by then.
            cache.change_budget(|| self.disk.saturating_sub(self.used()));
        }
    }
}

impl Disk for Spooled {
    fn take(&self, bytes: u64) {
        self.change(|used| used.saturating_add(bytes));
    }
    fn give_back(&self, bytes: u64) {
        self.change(|used| used.saturating_sub(bytes));
    }
}

/// A worker that is up.
pub struct Worker {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    address: SocketAddr,
}

/// What the streams of all connections share. No lock in it is held across a wait.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) endpoint: Endpoint,
    pub(crate) gate: Gate,
    pub(crate) admission: Mutex<Admission>,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) sealing: SealingKey,
    pub(crate) desk: Option<Desk>,
    pub(crate) engines: Option<Engines>,
    pub(crate) cache: InputCache,
    pub(crate) results: Results,
    /// Places for large Dispatches while they are read.
    pub(crate) large: Places<Prefix>,
    /// Places for jobs that run; admission counts them by requester.
    pub(crate) slots: Places<Prefix>,
    /// Places for jobs that run and results that are kept, and for failures that wait for their Settle; admission counts them by
    /// requester.
    pub(crate) kept: Places<Prefix>,
    /// Places for Bids that wait, by network and by requester.
    pub(crate) bids: (Places<Prefix>, Places<NodeId>),
    pub(crate) closed: watch::Receiver<Option<String>>,
    pub(crate) running: Arc<AtomicUsize>,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn node(&self) -> NodeId {
        self.identity.node_id()
    }

    /// A result's time is up, or it is not wanted.
    pub(crate) fn forget(&self, id: &OfferId) {
        self.results.remove(id);
        self.admission.lock().forget(id);
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Worker {
    /// Listens and serves until [`Worker::shutdown`].
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn start(setup: WorkerSetup) -> Result<Self, WorkerError> {
        let endpoint = Endpoint::bind(setup.listen, &setup.identity)?;
        let address = endpoint.local_addr()?;
        let cache = InputCache::open(setup.cache, setup.donation.disk)?;
        setup.spooled.attach(cache.clone());
        let (jobs, per_network) = (setup.donation.jobs as usize, setup.donation.per_network() as usize);
        let shared = Arc::new(Shared {
            identity: setup.identity,
            endpoint,
            gate: Gate::new(GateLimits::default()),
            admission: Mutex::new(Admission::new(setup.donation, setup.engines)),
            closed: setup.closed,
            running: setup.running,
            runner: setup.runner,
            sealing: SealingKey::generate().map_err(|_| WorkerError::Random)?,
            desk: setup.attester.clone().map(Desk::open),
            engines: setup.taking.map(|taking| Engines::new(taking, setup.spooled)),
            cache,
            results: Results::default(),
            large: Places::new(LARGE, LARGE_PER_NETWORK),
            slots: Places::new(jobs, per_network),
            kept: Places::new(Admission::RESULTS as usize, RESULTS_PER_NETWORK),
            bids: (Places::new(BIDS, BIDS_PER_NETWORK), Places::new(BIDS, BIDS_PER_REQUESTER)),
            shutdown: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept::accept(shared.clone(), tasks.clone()));
        tasks.spawn(follow_owner(shared.clone()));
        tasks.spawn(tidy(shared.clone()));
        tasks.spawn(engines::restore(shared.clone()));
        tasks.spawn(engines::look(shared.clone()));
        if let Some(attester) = setup.attester {
            tasks.spawn(collateral::renew(attester, shared.shutdown.clone()));
        }
        Ok(Self { shared, tasks, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it is.
    pub fn node(&self) -> NodeId {
        self.shared.node()
    }

    /// Takes no more jobs, resets those that run, and waits until all is told and ended.
    pub async fn shutdown(self) {
        self.shared.admission.lock().close(Some("the worker is shutting down".into()));
        self.shared.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(SHUTDOWN.0, self.tasks.wait()).await;
        self.shared.endpoint.close(ResetCode::ShuttingDown, SHUTDOWN.1).await;
        sync(&self.shared).await;
    }
}

/// Closes and opens admission as the owner says.
async fn follow_owner(shared: Arc<Shared>) {
    let mut closed = shared.closed.clone();
    loop {
        let reason = closed.borrow_and_update().clone();
        if !shared.shutdown.is_cancelled() {
            shared.admission.lock().close(reason);
        }
        tokio::select! {
            changed = closed.changed() => if changed.is_err() { return },
            () = shared.shutdown.cancelled() => return,
        }
    }
}

/// Gives back results whose time is up, and makes what was fetched last a restart.
async fn tidy(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            () = shared.shutdown.cancelled() => return,
        }
        for id in shared.results.expired() {
            tracing::info!(job = %id, "its requester has not taken the result in time");
            shared.forget(&id);
        }
        sync(&shared).await;
    }
}

async fn sync(shared: &Arc<Shared>) {
    let cache = shared.cache.clone();
    match tokio::task::spawn_blocking(move || cache.sync()).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!("what was fetched will not survive a restart: {e}"),
        Err(e) => tracing::warn!("the cache cannot be synced: {e}"),
    }
}

/// Counts a job as running, for as long as it holds memory.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(running.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cap_std::ambient_authority;
    use eider_inputs::disk_of;
    use eider_protocol::{DataClass, InputsSummary, Limits, Offer};

    use super::*;

    /// Threads that come here go on at once. Parked ones would go on one after the other.
    fn meet(count: &AtomicUsize, all: usize) {
        count.fetch_add(1, Ordering::SeqCst);
        while count.load(Ordering::SeqCst) < all {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn the_cache_has_the_whole_disk_again_when_two_results_end_at_once() {
        const DISK: u64 = 64 << 20;
        const RESULT: u64 = 8 << 20;
        const ROUNDS: usize = 200_000;
        let dir = tempfile::tempdir().unwrap();
        let cache = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        let (cache, spooled) = (InputCache::open(cache, DISK).unwrap(), Spooled::new(DISK));
        spooled.attach(cache.clone());
        let count = AtomicUsize::new(0);
        // Two threads come by three times a round.
        let one = |round: usize| {
            meet(&count, 6 * round + 2);
            spooled.take(RESULT);
            meet(&count, 6 * round + 4);
            spooled.give_back(RESULT);
            meet(&count, 6 * round + 6);
        };
        let lease = cache.lease(Hash::from_bytes([1; 32]), DISK, NodeId::from_bytes([2; 32]));
        let wrong = |round: &usize| {
            one(*round);
            // Nothing is taken until this thread comes to its next round: all the disk is there but for an entry's own.
            assert_eq!(spooled.used(), 0);
            lease.reserve(0, DISK - (1 << 20)).is_err()
        };
        let wrong = std::thread::scope(|scope| {
            scope.spawn(|| (0..ROUNDS).for_each(one));
            // To the end, for the other thread's sake.
            (0..ROUNDS).filter(wrong).count()
        });
        assert_eq!(wrong, 0, "so often of {ROUNDS} times the cache was left with an earlier budget");
    }

    #[test]
    fn an_admitted_job_of_many_small_inputs_takes_no_more_disk_than_is_donated() {
        const DISK: u64 = 64 << 20;
        let engine = Hash::from_bytes([7; 32]);
        let donation = Donation {
            memory: 4 << 30,
            idle_memory: 0,
            jobs: 2,
            per_requester: 2,
            disk: DISK,
            result: DISK,
            run_ms: 1_000,
            classes: vec![DataClass::Public],
            price: 0,
        };
        let admission = Admission::new(donation, BTreeMap::from([(engine, Ok(vec!["p".to_string()]))]));
        let offer = |inputs, result| Offer {
            requester: NodeId::from_bytes([1; 32]),
            task: Hash::from_bytes([0; 32]),
            draw: Hash::from_bytes([0; 32]),
            issued_at: 0,
            valid_s: 60,
            class: DataClass::Public,
            engine,
            profile: "p".into(),
            limits: Limits { memory: 1 << 20, result, run_ms: 1, fuel: None },
            inputs,
            attest: None,
            nonce: [0; 32],
        };
        for (count, bytes) in [(1, 1), (1_000, 1_000), (2_000, 30 << 20), (3, 60 << 20)] {
            let inputs = InputsSummary { count, bytes };
            // The largest result beside them, to 4 KiB.
            let admitted = |result: &u64| admission.consider(&offer(inputs, *result), 0).is_ok();
            let result = (0..DISK).rev().step_by(4 << 10).find(admitted).unwrap();
            assert!(disk_of(&inputs) + result <= DISK, "{result} beside {inputs:?}");
        }
    }
}
