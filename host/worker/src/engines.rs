//! Engines that come while the worker runs: fetched from who asks for them, admitted by the owner's policy, compiled and tried before any
//! Offer for one is accepted; and gone again when the policy admits them no more.
//!
//! [`fetch`](engines/fetch.rs) talks to requesters, [`make`](engines/make.rs) compiles and tries. A requester decides nothing here but how fast its own
//! bytes come: whoever is slow, or brings what is refused, has one of few places until a time of ours.

mod fetch;
mod make;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eider_core::EngineStand;
use eider_engines::{Candidate, EnginePolicy, EngineStore, Judgement, Stored, Touches, Yanked};
use eider_net::{Connection, Prefix};
use eider_protocol::{Decline, DeclineReason, Hash, NodeId, Offer, printable};
use eider_runner::{Disk, Pools};
use eider_sandbox::{CellCommand, Inspection, Variant};
use lru::LruCache;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::places::Places;
use crate::uses::ConnectionUses;
use crate::worker::{Shared, Spooled};

/// Engines that are fetched at a time.
const FETCHES: usize = 4;
/// Those that one network brings.
const FETCHES_PER_NETWORK: usize = 2;
/// Those that one requester brings.
const FETCHES_PER_REQUESTER: usize = 1;
/// Engines that are kept beside those that the worker began with.
const KEPT: usize = 32;
/// Answers that are remembered, so that what was refused is not fetched for each Offer.
const REMEMBERED: usize = 4_096;
/// For how long, where what one requester brought was refused: it may bring more another time.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// For how long, where it could not be had.
const BROKEN_FOR: Duration = Duration::from_secs(5);
/// For how long, where its bytes do not compile, or do not run.
const USELESS_FOR: Duration = Duration::from_secs(3_600);
/// How often the policy is looked at, and what it makes of the engines that are here.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often also where nothing has changed.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(60);
/// Longest detail of a refusal, bytes.
const DETAIL_MAX: usize = 400;

/// What a worker needs to take engines.
pub struct EngineSetup {
    /// Which it takes.
    pub policy: EnginePolicy,
    /// The policy's file, read again when it changes; nothing else can change the policy.
    pub policy_file: Option<PathBuf>,
    /// Where they are kept.
    pub store: EngineStore,
    /// Bytes of the donated disk that they may take, compiled or not.
    pub disk: u64,
    /// Where compiled images are kept.
    pub images: PathBuf,
    /// How cells are started.
    pub command: CellCommand,
    /// Where their cells go.
    pub pools: Arc<Pools>,
    /// What each is compiled as.
    pub variants: Vec<Variant>,
    /// What they may import, whatever the policy says.
    pub grant: Vec<String>,
    /// Bytes of memory of a cell that waits.
    pub idle_cell: u64,
}

/// What an inspection says, in a manifest's words.
pub fn touches_of(found: &Inspection) -> Touches {
    Touches {
        imports: found.imports.iter().map(|i| i.name.clone()).collect(),
        exports: found.exports.clone(),
        memories: found.memories.clone(),
        tables: found.tables.clone(),
        modules: found.modules,
        nesting: found.nesting,
    }
}

/// Why an engine is not run.
#[derive(Debug)]
enum Why {
    /// By what this requester brought of it.
    Refused(String),
    /// It could not be had.
    Broken(String),
    /// Its bytes are of no use, whoever brings them.
    Useless(String),
    /// This machine has no room for it now.
    NoRoom(String),
    /// It never has.
    TooLarge(String),
}

impl Why {
    fn words(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Broken(why) | Self::Useless(why) | Self::NoRoom(why) | Self::TooLarge(why) => {
                why
            }
        }
    }
}

/// How far an engine is that comes.
#[derive(Clone, Debug)]
enum Stage {
    Asking,
    Fetching {
        done: u64,
        size: u64,
        since: Instant,
    },
    /// For memory, or another's compilation.
    Waiting,
    Compiling {
        since: Instant,
        about: Duration,
    },
}

impl Stage {
    /// In words, with the time that it takes by estimate.
    fn words(&self) -> String {
        match self {
            Self::Asking => "the engine is asked for".into(),
            Self::Fetching { done, size, since } => {
                let rate = (*done as f64 / since.elapsed().as_secs_f64().max(0.1)).max(1.0);
                let left = (size.saturating_sub(*done) as f64 / rate).min(1e6);
                let (done, size) = (done / 1_000_000, size.div_ceil(1_000_000));
                format!("the engine is fetched: {done} of {size} MB, about {left:.0} s, and then compiled")
            }
            Self::Waiting => "the engine waits for memory to be compiled in".into(),
            Self::Compiling { since, about } => {
                let left = about.saturating_sub(since.elapsed()).as_secs().max(1);
                format!("the engine is compiled: about {left} s")
            }
        }
    }
}

/// An engine that is run.
struct Here {
    /// For people.
    name: String,
    /// Bytes of its images.
    disk: u64,
    /// Bytes of memory that its waiting cells take.
    idle: u64,
    images: Vec<PathBuf>,
    used: Instant,
    /// One more for each job that runs.
    users: Arc<()>,
    yanked: Yanked,
    /// Ends its jobs.
    gone: CancellationToken,
    /// Which bundle the policy was asked about last, and when.
    looked: Option<(SystemTime, Instant)>,
}

/// A job's hold of its engine.
pub(crate) struct InUse {
    _user: Arc<()>,
    /// The job is to end.
    pub(crate) gone: CancellationToken,
}

#[derive(Default)]
struct State {
    coming: HashMap<Hash, Stage>,
    here: HashMap<Hash, Here>,
}

struct Remembered {
    until: Instant,
    reason: DeclineReason,
    why: String,
}

/// The engines that come and go.
pub(crate) struct Engines {
    setup: EngineSetup,
    policy: Mutex<(EnginePolicy, Option<SystemTime>)>,
    state: Mutex<State>,
    /// By engine, and by requester where it is of what that one brought.
    remembered: Mutex<LruCache<(Hash, Option<NodeId>), Remembered>>,
    fetches: (Places<Prefix>, Places<NodeId>),
    /// Locked by the one that is compiled.
    compiler: tokio::sync::Mutex<()>,
    spooled: Arc<Spooled>,
    /// Bytes that are counted there.
    counted: Mutex<u64>,
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn file_time(path: Option<&PathBuf>) -> Option<SystemTime> {
    std::fs::metadata(path?).and_then(|m| m.modified()).ok()
}

impl Engines {
    pub(crate) fn new(setup: EngineSetup, spooled: Arc<Spooled>) -> Self {
        let policy = (setup.policy.clone(), file_time(setup.policy_file.as_ref()));
        let remembered = LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN));
        Self {
            setup,
            policy: Mutex::new(policy),
            state: Mutex::default(),
            remembered: Mutex::new(remembered),
            fetches: (Places::new(FETCHES, FETCHES_PER_NETWORK), Places::new(FETCHES, FETCHES_PER_REQUESTER)),
            compiler: tokio::sync::Mutex::default(),
            spooled,
            counted: Mutex::new(0),
        }
    }

    /// What the policy makes of a build.
    fn judge(&self, build: &Candidate<'_>) -> Judgement {
        self.policy.lock().0.judge(build)
    }

    /// A job runs on an engine; nothing is said of one that the worker began with.
    pub(crate) fn use_for_job(&self, engine: &Hash) -> Option<InUse> {
        let mut state = self.state.lock();
        let here = state.here.get_mut(engine)?;
        here.used = Instant::now();
        Some(InUse { _user: here.users.clone(), gone: here.gone.clone() })
    }

    fn recall(&self, engine: Hash, requester: NodeId) -> Option<Decline> {
        let mut all = self.remembered.lock();
        let now = Instant::now();
        [None, Some(requester)].into_iter().find_map(|of| {
            let one = all.get(&(engine, of)).filter(|one| now < one.until)?;
            Some(Decline { reason: one.reason, detail: one.why.clone() })
        })
    }

    fn remember(&self, engine: Hash, requester: Option<NodeId>, why: &Why) {
        let (time, of, reason) = match why {
            Why::Refused(_) => (REFUSED_FOR, requester, DeclineReason::Engine),
            Why::Broken(_) => (BROKEN_FOR, requester, DeclineReason::Busy),
            Why::NoRoom(_) => (BROKEN_FOR, None, DeclineReason::Busy),
            Why::Useless(_) => (USELESS_FOR, None, DeclineReason::Engine),
            Why::TooLarge(_) => (REFUSED_FOR, None, DeclineReason::TooLarge),
        };
        let why = printable(why.words(), DETAIL_MAX);
        self.remembered.lock().put((engine, of), Remembered { until: Instant::now() + time, reason, why });
    }

    fn stage(&self, engine: Hash, stage: Stage) {
        self.state.lock().coming.insert(engine, stage);
    }
}

/// The answer to an Offer whose engine the worker does not know: that it comes, or why not. It is fetched for that if it could be run.
pub(crate) fn ask(
    shared: &Arc<Shared>,
    offer: &Offer,
    connection: &Connection,
    uses: &ConnectionUses,
    decline: Decline,
) -> Decline {
    let Some(engines) = &shared.engines else { return decline };
    let busy = |detail: String| Decline { reason: DeclineReason::Busy, detail };
    let engine = offer.engine;
    if let Some(stage) = engines.state.lock().coming.get(&engine) {
        return busy(stage.words());
    }
    if !engines.policy.lock().0.could_admit(&engine) {
        return decline;
    }
    if let Some(known) = engines.recall(engine, offer.requester) {
        return known;
    }
    if !engines.setup.variants.iter().any(|variant| variant.profile() == offer.profile) {
        let has: Vec<_> = engines.setup.variants.iter().map(|variant| variant.profile()).collect();
        let detail = format!("this worker runs {}, not {:?}", has.join(" and "), printable(&offer.profile, 40));
        return Decline { reason: DeclineReason::Profile, detail };
    }
    if let Err(decline) = shared.admission.lock().would_run(offer) {
        return decline;
    }
    let (of_network, of_requester) = &engines.fetches;
    let Some(places) = of_requester.take(offer.requester).zip(of_network.take(connection.network())) else {
        return busy("other engines are fetched".into());
    };
    engines.stage(engine, Stage::Asking);
    let (shared, connection, used) = (shared.clone(), connection.clone(), uses.work.begin());
    tokio::spawn(async move {
        let Some(engines) = &shared.engines else { return };
        let taken = tokio::select! {
            taken = engines.take(&shared, engine, &connection) => taken,
            () = shared.shutdown.cancelled() => Err(Why::Broken("the worker is shutting down".into())),
        };
        drop((places, used));
        engines.taken(engine, Some(connection.node()), taken);
    });
    busy(Stage::Asking.words())
}

impl Engines {
    fn taken(&self, engine: Hash, requester: Option<NodeId>, taken: Result<(), Why>) {
        if let Err(why) = &taken {
            tracing::info!("engine {} is not run: {}", engine.short(), why.words());
            self.remember(engine, requester, why);
        }
        self.state.lock().coming.remove(&engine);
        // What is of no use takes no room. The rest may be gone on with, and goes when room is needed.
        if matches!(taken, Err(Why::Useless(_) | Why::TooLarge(_)))
            && let Err(e) = self.setup.store.remove(&engine)
        {
            tracing::warn!("{e}");
        }
        self.count();
    }

    /// Fetches an engine, and makes it one that is run.
    async fn take(&self, shared: &Shared, engine: Hash, connection: &Connection) -> Result<(), Why> {
        let bundle = fetch::bundle(connection, engine).await?;
        let before = self.before(&bundle)?;
        let build =
            Candidate { hash: engine, bundle: Some(&bundle), component: None, before: before.as_ref(), now: now_s() };
        let judged = self.judge(&build);
        if judged.admitted().is_none() {
            return Err(Why::Refused(judged.refusal()));
        }
        let store = |e: eider_engines::StoreError| Why::Broken(e.to_string());
        // Only now, and of the engine that was asked for: the rule has looked.
        self.setup.store.put_bundle(bundle).map_err(store)?;
        let stored =
            self.setup.store.get(&engine).map_err(store)?.ok_or_else(|| Why::Broken("its bundle is gone".into()))?;
        if !stored.whole {
            let size = stored.manifest.digests.size;
            let room = self.room(shared, size)?;
            let since = Instant::now();
            let on = |done| self.stage(engine, Stage::Fetching { done, size, since });
            let fetched = fetch::component(connection, &self.setup.store, &stored.manifest.digests, on).await;
            drop(room);
            self.count();
            fetched?;
        }
        self.make(shared, &stored).await
    }

    /// What was admitted before of a build's name.
    fn before(&self, bundle: &eider_engines::Bundle) -> Result<Option<Touches>, Why> {
        let manifest = eider_engines::Manifest::read(&bundle.manifest).map_err(|e| Why::Refused(e.to_string()))?;
        self.setup.store.admitted(&manifest.name).map_err(|e| Why::Broken(e.to_string()))
    }

    /// Makes room on the disk for so many bytes more: what no job uses goes, what was asked for longest ago first.
    fn room(&self, shared: &Shared, bytes: u64) -> Result<Room, Why> {
        loop {
            let used = self.count();
            let (kept, oldest) = {
                let state = self.state.lock();
                let idle = state.here.iter().filter(|(_, here)| Arc::strong_count(&here.users) == 1);
                (state.here.len(), idle.min_by_key(|(_, here)| here.used).map(|(engine, _)| *engine))
            };
            if kept < KEPT && used.saturating_add(bytes) <= self.setup.disk {
                return Ok(Room::take(&self.spooled, bytes));
            }
            if self.sweep_store() {
                continue;
            }
            let Some(oldest) = oldest else {
                let most = self.setup.disk;
                let why = format!("it takes {bytes} bytes of disk; engines may have {most} here, and have {used}");
                return Err(if bytes > most { Why::TooLarge(why) } else { Why::NoRoom(why) });
            };
            self.drop_engine(shared, &oldest);
        }
    }

    /// Counts what engines take of the disk, and has it counted against what is donated.
    fn count(&self) -> u64 {
        let images: u64 = self.state.lock().here.values().map(|here| here.disk).sum();
        let used = self.setup.store.used().unwrap_or_else(|e| {
            tracing::warn!("{e}");
            0
        });
        let used = used.saturating_add(images);
        let mut counted = self.counted.lock();
        if used > *counted {
            self.spooled.take(used - *counted);
        } else if used < *counted {
            self.spooled.give_back(*counted - used);
        }
        *counted = used;
        used
    }

    /// Removes what is in the store and neither comes nor is here; whether there was something.
    fn sweep_store(&self) -> bool {
        let names = self.setup.store.hashes().unwrap_or_default();
        let unused = |engine: &Hash| {
            let state = self.state.lock();
            !state.coming.contains_key(engine) && !state.here.contains_key(engine)
        };
        names.into_iter().filter(unused).any(|engine| self.setup.store.remove(&engine).unwrap_or(false))
    }

    /// An engine that no job uses is here no more.
    fn drop_engine(&self, shared: &Shared, engine: &Hash) {
        let here = self.state.lock().here.remove(engine);
        let Some(here) = here else { return };
        self.setup.pools.remove(engine);
        {
            let mut admission = shared.admission.lock();
            admission.set_engine(*engine, None);
            admission.change_idle(0, here.idle);
        }
        for image in &here.images {
            let _ = std::fs::remove_file(image);
            let _ = std::fs::remove_file(image.with_extension("mac"));
        }
        if let Err(e) = self.setup.store.remove(engine) {
            tracing::warn!("engine {} is not removed from the disk: {e}", here.name);
        }
        self.count();
        tracing::info!("engine {} is dropped", here.name);
    }

    /// What the policy makes of what is here, now: where the policy or a bundle has changed, and from time to time, for proofs grow old.
    fn look_again(&self, shared: &Shared) {
        let changed = self.read_policy();
        let all: Vec<_> = self.state.lock().here.iter().map(|(engine, here)| (*engine, here.looked)).collect();
        for (engine, looked) in all {
            let time = self.setup.store.bundle_time(&engine);
            if !changed && looked.is_some_and(|(of, at)| Some(of) == time && at.elapsed() < LOOK_AT_ALL_EVERY) {
                continue;
            }
            if let Some(here) = self.state.lock().here.get_mut(&engine) {
                here.looked = time.map(|time| (time, Instant::now()));
            }
            let stand = match self.setup.store.get(&engine) {
                Ok(Some(stored)) => self.stand(&stored),
                // What cannot be read is not run.
                Ok(None) => Err("what is published of it is gone".into()),
                Err(e) => Err(e.to_string()),
            };
            self.set_stand(shared, engine, stand);
        }
    }

    /// Whether a build of the store is run: by what is published, for its bytes were looked at when it came.
    fn stand(&self, stored: &Stored) -> Result<Yanked, String> {
        let build =
            Candidate { hash: stored.hash, bundle: Some(&stored.bundle), component: None, before: None, now: now_s() };
        let judged = self.judge(&build);
        judged.admitted().map(|rule| rule.yanked).ok_or_else(|| judged.refusal())
    }

    fn set_stand(&self, shared: &Shared, engine: Hash, stand: Result<Yanked, String>) {
        let profiles = || self.setup.variants.iter().map(|variant| variant.profile().to_string()).collect();
        let mut state = self.state.lock();
        let Some(here) = state.here.get_mut(&engine) else { return };
        match stand {
            Ok(yanked) => {
                here.yanked = yanked;
                if here.gone.is_cancelled() {
                    here.gone = CancellationToken::new();
                }
                shared.admission.lock().set_engine(engine, Some(Ok(profiles())));
            }
            Err(why) => {
                if here.yanked == Yanked::Refuse && !here.gone.is_cancelled() {
                    tracing::info!("engine {} is not run any more: {why}", here.name);
                    here.gone.cancel();
                }
                let stand: EngineStand = Err(printable(&why, DETAIL_MAX));
                shared.admission.lock().set_engine(engine, Some(stand));
            }
        }
    }

    /// Reads the policy's file if it is another by now, and says whether it is. One that cannot be read leaves what was.
    fn read_policy(&self) -> bool {
        let Some(path) = &self.setup.policy_file else { return false };
        let time = file_time(Some(path));
        if time == self.policy.lock().1 {
            return false;
        }
        let read = || {
            let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
            EnginePolicy::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| e.to_string())
        };
        match read() {
            Ok(policy) => {
                tracing::info!("{} is read again", path.display());
                *self.policy.lock() = (policy, time);
                self.remembered.lock().clear();
                true
            }
            Err(e) => {
                tracing::warn!("{} is not read again: {e}", path.display());
                self.policy.lock().1 = time;
                false
            }
        }
    }
}

/// Bytes of the donated disk, given back when this is dropped.
struct Room {
    spooled: Arc<Spooled>,
    bytes: u64,
}

impl Room {
    fn take(spooled: &Arc<Spooled>, bytes: u64) -> Self {
        spooled.take(bytes);
        Self { spooled: spooled.clone(), bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spooled.give_back(self.bytes);
    }
}

/// Runs what is in the store already, and looks again and again at what is here.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let Some(engines) = &shared.engines else { return };
    engines.count();
    let stored = engines.setup.store.list().unwrap_or_else(|e| {
        tracing::warn!("{e}");
        vec![]
    });
    for stored in stored.iter().filter(|stored| stored.whole && !shared.admission.lock().knows(&stored.hash)) {
        if let Err(why) = engines.stand(stored) {
            tracing::info!("engine {} {} is not run: {why}", stored.manifest.name, stored.manifest.version);
            continue;
        }
        engines.stage(stored.hash, Stage::Waiting);
        let made = tokio::select! {
            made = engines.make(&shared, stored) => made,
            () = shared.shutdown.cancelled() => return,
        };
        engines.taken(stored.hash, None, made);
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.shutdown.cancelled() => return,
        }
        let on = shared.clone();
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(engines) = &on.engines {
                engines.look_again(&on);
            }
        });
        let _ = looked.await;
    }
}
