//! Engines that come while the worker runs: fetched from who asks for them, admitted by the owner's policy, compiled and tried before any
//! Offer for one is accepted; and gone again when the policy admits them no more.
//!
//! [`fetch`](engines/fetch.rs) talks to requesters, [`make`](engines/make.rs) compiles and tries, [`disk`](engines/disk.rs) makes
//! room, and [`look`](engines/look.rs) asks the policy again. A requester decides nothing here but how fast its own
//! bytes come: whoever is slow, or brings what is refused, has one of few places until a time of ours.

mod disk;
mod fetch;
mod look;
mod make;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eider_engines::{
    BUNDLE_MAX, Candidate, EnginePolicy, EngineStore, Judgement, Manifest, StoreError, Stored, Touches, Yanked,
};
use eider_net::{Connection, Prefix};
use eider_protocol::{Decline, DeclineReason, Hash, NodeId, Offer, printable};
use eider_runner::Pools;
use eider_sandbox::{CellCommand, Inspection, Variant};
use lru::LruCache;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::disk::Held;
use self::look::Policy;
pub(crate) use self::look::{look, restore};
use crate::places::Places;
use crate::uses::ConnectionUses;
use crate::worker::{Shared, Spooled, unix_now};

/// Engines that are fetched at a time.
const FETCHES: usize = 4;
/// Those that one network brings.
const FETCHES_PER_NETWORK: usize = 2;
/// Those that one requester brings.
const FETCHES_PER_REQUESTER: usize = 1;
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
/// Longest detail of a refusal, bytes.
const DETAIL_MAX: usize = 400;

/// What a worker needs to take engines.
pub struct EngineSetup {
    /// Which it takes.
    pub policy: Arc<EnginePolicy>,
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

/// The engines that come and go. Of its locks, `held` may be held while `state` and admission's are taken, and `state` while admission's is.
pub(crate) struct Engines {
    setup: EngineSetup,
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
    u64::try_from(unix_now()).unwrap_or_default()
}

impl Engines {
    pub(crate) fn new(setup: EngineSetup, spooled: Arc<Spooled>) -> Self {
        let remembered = LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN));
        Self {
            policy: Mutex::new(Policy { now: setup.policy.clone(), time: None, seen: None }),
            setup,
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

    /// What each engine is compiled as.
    fn profiles(&self) -> Vec<String> {
        self.setup.variants.iter().map(|variant| variant.profile().to_string()).collect()
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
    if !engines.profiles().contains(&offer.profile) {
        let has = engines.profiles().join(" and ");
        let detail = format!("this worker runs {has}, not {:?}", printable(&offer.profile, 40));
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
        let store = self.setup.store.clone();
        tokio::task::spawn_blocking(move || what(&store)).await.map_err(own)?.map_err(own)
    }

    async fn taken(&self, shared: &Shared, engine: Hash, requester: Option<NodeId>, taken: Result<(), Why>) {
        if let Err(why) = &taken {
            tracing::info!("engine {} is not run: {}", engine.short(), why.words());
            self.remember(engine, requester, why);
        }
        // What is of no use takes no room. The rest may be gone on with, and goes when room is needed.
        if matches!(taken, Err(Why::Useless(_) | Why::TooLarge(_)))
            && self.setup.store.is_fetched(&engine)
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
        let bundle = bundle.with_what_is_known(earlier);
        let (yanks, before) = (&yanks, before.as_ref());
        let build = Candidate { hash: engine, bundle: Some(&bundle), component: None, yanks, before, now: now_s() };
        let judged = self.judge(&build);
        // A rule of bytes alone has not looked at what this requester says of them.
        if !judged.by_publisher() {
            return Err(Why::Refused(judged.refusal()));
        }
        let (size, is_here) = (manifest.digests.size, self.setup.store.component(&engine).map_err(own)?.is_some());
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
            fetch::component(connection, &self.setup.store, &manifest.digests, on).await?;
        }
        drop(room);
        self.count(shared);
        let stored = self.on_disk(move |store| store.get(&engine)).await?;
        stored.ok_or_else(|| Why::Failed("its bundle is gone".into()))
    }
}
