//! Engines that come while the worker runs: fetched from who asks for them, admitted by the owner's policy, compiled and tried before any
//! Offer for one is accepted; and gone again when the policy admits them no more.
//!
//! [`fetch`](engines/fetch.rs) talks to requesters, [`make`](engines/make.rs) compiles and tries. A requester decides nothing here but how fast its own
//! bytes come: whoever is slow, or brings what is refused, has one of few places until a time of ours.

mod fetch;
mod make;

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eider_core::EngineStand;
use eider_engines::{
    BUNDLE_MAX, Candidate, EnginePolicy, EngineStore, Judgement, Look, Manifest, StoreError, Stored, Touches, Yanked,
};
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
/// For how long, where this machine could not compile or try it.
const FAILED_FOR: Duration = Duration::from_secs(600);
/// Engines that wait to be compiled, at most.
const QUEUE: usize = 4;
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
    pub store: Arc<EngineStore>,
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
    /// Its bytes are of no use, on whatever machine.
    Useless(String),
    /// This machine could not make it.
    Failed(String),
    /// This machine has no room for it now.
    NoRoom(String),
    /// It never has.
    TooLarge(String),
}

impl Why {
    fn words(&self) -> &str {
        match self {
            Self::Refused(why)
            | Self::Broken(why)
            | Self::Useless(why)
            | Self::Failed(why)
            | Self::NoRoom(why)
            | Self::TooLarge(why) => why,
        }
    }
}

/// Of our own store and tasks.
fn own(e: impl std::fmt::Display) -> Why {
    Why::Failed(e.to_string())
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
    /// For memory, another's compilation, or the machine's owner.
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
            Self::Waiting => {
                "the engine waits to be compiled: for another, for memory, or for the machine's owner".into()
            }
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
    /// What was found in its bytes.
    touches: Arc<Touches>,
    used: Instant,
    /// One more for each job that runs.
    users: Arc<()>,
    yanked: Yanked,
    /// Ends its jobs.
    gone: CancellationToken,
    /// What of it the policy was asked about last, and when.
    looked: Option<(Known, Instant)>,
}

/// When what is known of a build was last written.
type Known = (Option<SystemTime>, Option<SystemTime>);

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

/// Bytes of the donated disk.
#[derive(Default)]
struct Held {
    /// What is in the store, and images of engines that are here.
    kept: u64,
    /// What is about to be.
    reserved: u64,
}

/// The policy as it was read last.
struct Policy {
    now: Arc<EnginePolicy>,
    /// The time of the file that it was read from, once it was looked at.
    time: Option<SystemTime>,
    /// A later time, seen once: whoever writes the file may not be done.
    seen: Option<SystemTime>,
}

/// The engines that come and go. Of its locks, `held` may be held while `state` and admission's are taken, and `state` while admission's is.
pub(crate) struct Engines {
    setup: EngineSetup,
    store: Arc<EngineStore>,
    policy: Mutex<Policy>,
    state: Mutex<State>,
    /// By engine, and by requester where it is of what that one brought.
    remembered: Mutex<LruCache<(Hash, Option<NodeId>), Remembered>>,
    fetches: (Places<Prefix>, Places<NodeId>),
    queue: Places<()>,
    /// Locked by the one that is compiled.
    compiler: tokio::sync::Mutex<()>,
    spooled: Arc<Spooled>,
    held: Mutex<Held>,
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Engines {
    pub(crate) fn new(mut setup: EngineSetup, spooled: Arc<Spooled>) -> Self {
        let remembered = LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN));
        let now = std::mem::replace(&mut setup.policy, EnginePolicy::nothing());
        Self {
            store: setup.store.clone(),
            setup,
            policy: Mutex::new(Policy { now: Arc::new(now), time: None, seen: None }),
            state: Mutex::default(),
            remembered: Mutex::new(remembered),
            fetches: (Places::new(FETCHES, FETCHES_PER_NETWORK), Places::new(FETCHES, FETCHES_PER_REQUESTER)),
            queue: Places::new(QUEUE, QUEUE),
            compiler: tokio::sync::Mutex::default(),
            spooled,
            held: Mutex::default(),
        }
    }

    /// What the policy makes of a build.
    fn judge(&self, build: &Candidate<'_>) -> Judgement {
        self.policy().judge(build)
    }

    fn policy(&self) -> Arc<EnginePolicy> {
        self.policy.lock().now.clone()
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
            Why::Failed(_) => (FAILED_FOR, None, DeclineReason::Engine),
            Why::TooLarge(_) => (REFUSED_FOR, None, DeclineReason::TooLarge),
        };
        let why = printable(why.words(), DETAIL_MAX);
        self.remembered.lock().put((engine, of), Remembered { until: Instant::now() + time, reason, why });
    }

    /// Makes this task the one by which an engine comes.
    fn claim(&self, engine: Hash, stage: Stage) -> bool {
        let mut state = self.state.lock();
        let free = !state.coming.contains_key(&engine);
        if free {
            state.coming.insert(engine, stage);
        }
        free
    }

    fn stage(&self, engine: Hash, stage: Stage) {
        self.state.lock().coming.insert(engine, stage);
    }

    fn is_here(&self, engine: &Hash) -> bool {
        self.state.lock().here.contains_key(engine)
    }
}

/// The answer to an Offer whose engine the worker does not run: that it comes, or why not. It is fetched if it could be run; of one that is here, and
/// that the policy does not admit any more, what is published may have changed.
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
    let is_here = engines.is_here(&engine);
    let begun_with = shared.admission.lock().knows(&engine) && !is_here;
    if begun_with || !engines.policy().would_fetch(&engine) {
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
    if !engines.claim(engine, Stage::Asking) {
        return busy("the engine comes".into());
    }
    let (shared, connection, used) = (shared.clone(), connection.clone(), uses.work.begin());
    // Why one that is here is refused stays so if nothing newer is brought.
    let refused = is_here.then_some(decline.detail);
    tokio::spawn(async move {
        let Some(engines) = &shared.engines else { return };
        let take = async {
            let stored = match (engines.fetch(&shared, engine, &connection).await, refused) {
                (Err(Why::Broken(_)), Some(refused)) => return Err(Why::Refused(refused)),
                (fetched, _) => fetched?,
            };
            // Others are fetched while it is compiled.
            drop((places, used));
            if is_here {
                engines.set_stand(&shared, engine, engines.stand(&stored));
                return Ok(());
            }
            engines.make(&shared, &stored).await
        };
        let taken = tokio::select! {
            taken = take => taken,
            () = shared.shutdown.cancelled() => Err(Why::Broken("the worker is shutting down".into())),
        };
        engines.taken(&shared, engine, Some(connection.node()), taken).await;
    });
    busy(Stage::Asking.words())
}

impl Engines {
    /// Something of the store, on a thread that may wait for the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        what: impl FnOnce(&EngineStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Why> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || what(&store)).await.map_err(own)?.map_err(own)
    }

    async fn taken(&self, shared: &Shared, engine: Hash, requester: Option<NodeId>, taken: Result<(), Why>) {
        if let Err(why) = &taken {
            tracing::info!("engine {} is not run: {}", engine.short(), why.words());
            self.remember(engine, requester, why);
        }
        // What is of no use takes no room. The rest may be gone on with, and goes when room is needed.
        if matches!(taken, Err(Why::Useless(_) | Why::TooLarge(_)))
            && self.store.is_fetched(&engine)
            && let Err(why) = self.on_disk(move |store| store.remove(&engine)).await
        {
            tracing::warn!("{}", why.words());
        }
        self.state.lock().coming.remove(&engine);
        self.count(shared);
    }

    /// Has an engine's bundle, and its component, in the store, if the policy admits it.
    async fn fetch(&self, shared: &Shared, engine: Hash, connection: &Connection) -> Result<Stored, Why> {
        let bundle = fetch::bundle(connection, engine).await?;
        let manifest = Manifest::read(&bundle.manifest).map_err(|e| Why::Refused(e.to_string()))?;
        if manifest.digests.blake3 != engine {
            let its = manifest.digests.blake3;
            return Err(Why::Refused(format!("what is published as {} {} is {its}", manifest.name, manifest.version)));
        }
        // That it was taken back is kept, whatever else is in the bundle and whatever comes later.
        let believed = self.policy().believed_yanks(&bundle);
        let name = manifest.name.clone();
        let known = self.on_disk(move |store| {
            store.put_yanks(&engine, &believed)?;
            Ok((store.yanks(&engine)?, store.admitted(&name)?, store.bundle(&engine).ok().flatten()))
        });
        let (yanks, before, earlier) = known.await?;
        let bundle = earlier.map_or_else(|| bundle.clone(), |earlier| bundle.clone().with_what_is_known(earlier));
        let (yanks, before) = (&yanks, before.as_ref());
        let build = Candidate { hash: engine, bundle: Some(&bundle), component: None, yanks, before, now: now_s() };
        let judged = self.judge(&build);
        // A rule of bytes alone has not looked at what this requester says of them.
        if !judged.by_publisher() {
            return Err(Why::Refused(judged.refusal()));
        }
        let (size, is_here) = (manifest.digests.size, self.store.component(&engine).map_err(own)?.is_some());
        let room = if is_here { None } else { Some(self.room(shared, size + BUNDLE_MAX as u64)?) };
        self.on_disk(move |store| {
            if !is_here {
                store.mark_fetched(&engine)?;
            }
            store.put_bundle(bundle)
        })
        .await?;
        if !is_here {
            let since = Instant::now();
            let on = |done| self.stage(engine, Stage::Fetching { done, size, since });
            fetch::component(connection, &self.store, &manifest.digests, on).await?;
        }
        drop(room);
        self.count(shared);
        let stored = self.on_disk(move |store| store.get(&engine)).await?;
        stored.ok_or_else(|| Why::Failed("its bundle is gone".into()))
    }

    /// Makes room on the disk for so many bytes more: what no job uses goes, what was asked for longest ago first. Nothing goes for what could
    /// never fit.
    fn room<'a>(&'a self, shared: &'a Shared, bytes: u64) -> Result<Room<'a>, Why> {
        let most = self.setup.disk;
        let why = |used: u64| format!("it takes {bytes} bytes of disk; engines may have {most} here, and have {used}");
        if bytes > most {
            return Err(Why::TooLarge(why(0)));
        }
        loop {
            self.count(shared);
            let (kept, oldest) = {
                let state = self.state.lock();
                let idle = state.here.iter().filter(|(_, here)| Arc::strong_count(&here.users) == 1);
                (state.here.len(), idle.min_by_key(|(_, here)| here.used).map(|(engine, _)| *engine))
            };
            let used = {
                let mut held = self.held.lock();
                let used = held.kept.saturating_add(held.reserved);
                if kept < KEPT && used.saturating_add(bytes) <= most {
                    // Nothing of ours goes for what jobs hold.
                    if !shared.admission.lock().take_disk(bytes) {
                        return Err(Why::NoRoom("jobs hold the disk that it would take".into()));
                    }
                    held.reserved += bytes;
                    self.spooled.take(bytes);
                    return Ok(Room { engines: self, shared, bytes });
                }
                used
            };
            if self.sweep_store() {
                continue;
            }
            let oldest = oldest.ok_or_else(|| Why::NoRoom(why(used)))?;
            self.drop_engine(shared, &oldest);
        }
    }

    /// Counts what engines take of the disk, and has it counted against what is donated.
    fn count(&self, shared: &Shared) {
        let mut held = self.held.lock();
        let images: u64 = self.state.lock().here.values().map(|here| here.disk).sum();
        let used = match self.store.used() {
            Ok(used) => used.saturating_add(images),
            Err(e) => return tracing::warn!("{e}"),
        };
        let (more, less) = (used.saturating_sub(held.kept), held.kept.saturating_sub(used));
        held.kept = used;
        shared.admission.lock().change_disk(more, less);
        self.spooled.take(more);
        self.spooled.give_back(less);
    }

    /// Removes one build that was fetched and neither comes nor is here; whether there was one. What the owner has put there stays.
    fn sweep_store(&self) -> bool {
        let unused = |engine: &Hash| {
            let state = self.state.lock();
            !state.coming.contains_key(engine) && !state.here.contains_key(engine) && self.store.is_fetched(engine)
        };
        let all = self.store.hashes().unwrap_or_default();
        all.into_iter().filter(unused).any(|engine| self.store.remove(&engine).unwrap_or(false))
    }

    /// An engine that no job uses is here no more.
    fn drop_engine(&self, shared: &Shared, engine: &Hash) {
        let here = {
            let mut state = self.state.lock();
            // A job may have come this moment.
            let unused = state.here.get(engine).is_some_and(|here| Arc::strong_count(&here.users) == 1);
            let here = if unused { state.here.remove(engine) } else { None };
            let Some(here) = here else { return };
            let mut admission = shared.admission.lock();
            admission.set_engine(*engine, None);
            admission.change_idle(0, here.idle);
            here
        };
        self.setup.pools.remove(engine);
        remove_images(&here.images);
        if self.store.is_fetched(engine)
            && let Err(e) = self.store.remove(engine)
        {
            tracing::warn!("engine {} is not removed from the disk: {e}", here.name);
        }
        tracing::info!("engine {} is dropped", here.name);
    }

    /// What the policy makes of what is here, now: where the policy or what is known of a build has changed, and from time to time, for
    /// proofs grow old.
    fn look_again(&self, shared: &Shared) {
        let changed = self.read_policy();
        let all: Vec<_> = self.state.lock().here.iter().map(|(engine, here)| (*engine, here.looked)).collect();
        for (engine, looked) in all {
            let known = self.store.times(&engine);
            if !changed && looked.is_some_and(|(of, at)| of == known && at.elapsed() < LOOK_AT_ALL_EVERY) {
                continue;
            }
            if let Some(here) = self.state.lock().here.get_mut(&engine) {
                here.looked = Some((known, Instant::now()));
            }
            let stand = match self.store.get(&engine) {
                Ok(Some(stored)) => self.stand(&stored),
                // What cannot be read is not run.
                Ok(None) => Err("what is published of it is gone".into()),
                Err(e) => Err(e.to_string()),
            };
            self.set_stand(shared, engine, stand);
        }
    }

    /// Whether a build of the store is run. Of one that is here, the bytes were compared with the manifest, and looked into, when it came.
    fn stand(&self, stored: &Stored) -> Result<Yanked, String> {
        let touches = self.state.lock().here.get(&stored.hash).map(|here| here.touches.clone());
        let look = || Ok(touches.as_deref().cloned().unwrap_or_default());
        let component = touches.is_some().then_some((&stored.manifest.digests, &look as &Look<'_>));
        let build = Candidate {
            hash: stored.hash,
            bundle: Some(&stored.bundle),
            component,
            yanks: &stored.yanks,
            before: None,
            now: now_s(),
        };
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

    /// Reads the policy's file if it is another by now, and stays what it was for two looks; whether it was read. One that cannot be read leaves
    /// what was.
    fn read_policy(&self) -> bool {
        let Some(path) = &self.setup.policy_file else { return false };
        let time = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        {
            let mut policy = self.policy.lock();
            if time == policy.time {
                return false;
            }
            if time != policy.seen {
                policy.seen = time;
                return false;
            }
            policy.time = time;
        }
        let read = || {
            let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
            let mut text = String::new();
            let most = EnginePolicy::MAX as u64 + 1;
            io::Read::read_to_string(&mut io::Read::take(file, most), &mut text).map_err(|e| e.to_string())?;
            EnginePolicy::parse(&text).map_err(|e| e.to_string())
        };
        match read() {
            Ok(now) => {
                let mut policy = self.policy.lock();
                let changed = *policy.now != now;
                policy.now = Arc::new(now);
                drop(policy);
                if changed {
                    tracing::info!("{} is read again", path.display());
                    self.remembered.lock().clear();
                }
                changed
            }
            Err(e) => {
                tracing::warn!("{} is not read again: {e}", path.display());
                false
            }
        }
    }
}

fn remove_images(images: &[PathBuf]) {
    for image in images {
        let _ = std::fs::remove_file(image);
        let _ = std::fs::remove_file(image.with_extension("mac"));
    }
}

/// Bytes of the donated disk, given back when this is dropped: what has come of them by then is counted with what is kept.
struct Room<'a> {
    engines: &'a Engines,
    shared: &'a Shared,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut held = self.engines.held.lock();
        held.reserved = held.reserved.saturating_sub(self.bytes);
        self.shared.admission.lock().change_disk(0, self.bytes);
        self.engines.spooled.give_back(self.bytes);
    }
}

/// Runs what is in the store already.
pub(crate) async fn restore(shared: Arc<Shared>) {
    let Some(engines) = &shared.engines else { return };
    engines.count(&shared);
    let stored = engines.on_disk(|store| store.list()).await.unwrap_or_else(|why| {
        tracing::warn!("{}", why.words());
        vec![]
    });
    for stored in stored.iter().filter(|stored| stored.whole) {
        if shared.admission.lock().knows(&stored.hash) {
            continue;
        }
        if let Err(why) = engines.stand(stored) {
            tracing::info!("engine {} {} is not run: {why}", stored.manifest.name, stored.manifest.version);
            continue;
        }
        if !engines.claim(stored.hash, Stage::Waiting) {
            continue;
        }
        let made = tokio::select! {
            made = engines.make(&shared, stored) => made,
            () = shared.shutdown.cancelled() => return,
        };
        engines.taken(&shared, stored.hash, None, made).await;
    }
}

/// Looks again and again at the policy, and at what it makes of what is here.
pub(crate) async fn look(shared: Arc<Shared>) {
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
