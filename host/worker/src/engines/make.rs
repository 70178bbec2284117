//! From a component in the store to an engine that is run: looked into, compiled in the jail, tried in a cell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eider_engines::{Candidate, Digests, Look, Stored, Touches, Yanked};
use eider_protocol::{Hash, Limits, Outcome, Progress, Stage as JobStage, Task};
use eider_runner::{CellRunner, InputReader, Reading, Runner, Uncounted, Work};
use eider_sandbox::{BrokerError, CellCommand, Image, ImageCache, ImageError, Pool, Variant, limits};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::disk::remove_images;
use super::{Engines, Here, Stage, Why, now_s, own, touches_of};
use crate::worker::Shared;

/// What a new engine is tried with.
const TRIAL: &str = "SELECT 1";
/// It has done by then.
const TRIAL_TIME: Duration = Duration::from_secs(60);
/// What it may use: what an engine wants before its job, and as much again.
const TRIAL_MEMORY: u64 = 2 * limits::IDLE_MEMORY;
/// How long memory and the owner are waited for: by then every job that ran has ended.
const MEMORY_TIME: Duration = Duration::from_secs(3_600);
/// An image has so many times the bytes of its component, and so many more: DuckDB's has four times as many.
const IMAGE_FACTOR: u64 = 6;
const IMAGE_MORE: u64 = 4 << 20;
/// Milliseconds that compiling takes for each MB of a component, by what DuckDB takes on two shared cores.
const COMPILE_MS_PER_MB: u64 = 700;

/// Memory that jobs cannot have meanwhile.
struct Aside<'a> {
    shared: &'a Shared,
    bytes: u64,
}

impl<'a> Aside<'a> {
    fn new(shared: &'a Shared, bytes: u64) -> Self {
        shared.admission.lock().set_aside(bytes);
        Self { shared, bytes }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.shared.admission.lock().put_back(self.bytes);
    }
}

/// What came of looking into a component.
struct Looked {
    yanked: Yanked,
    /// A rule goes by who has published it.
    by_publisher: bool,
    touches: Arc<Touches>,
}

/// Compiled images, which are removed with this.
struct Images(Vec<Image>);

impl Drop for Images {
    fn drop(&mut self) {
        remove_images(&self.0.iter().map(|image| image.path().to_owned()).collect::<Vec<_>>());
    }
}

/// Calls a compilation off when it is dropped, or before.
#[derive(Default)]
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct NoInputs;

impl InputReader for NoInputs {
    fn read<'a>(&'a self, _: u32, _: u64, _: &'a mut [u8]) -> Reading<'a> {
        Box::pin(std::future::ready(Err(BrokerError::InputUnavailable("none".into(), "there is none".into()))))
    }
}

impl Engines {
    /// Makes a build of the store one that is run. One at a time is compiled, in memory that jobs do not have meanwhile, and while the machine's
    /// owner lets jobs run.
    pub(super) async fn make(&self, shared: &Shared, stored: &Stored) -> Result<(), Why> {
        let (engine, size) = (stored.hash, stored.manifest.digests.size);
        let variants = &self.setup.variants;
        let image_bytes = size.saturating_mul(IMAGE_FACTOR).saturating_add(IMAGE_MORE);
        let disk = image_bytes.saturating_mul(variants.len() as u64);
        if disk.saturating_add(size) > self.setup.disk {
            let most = self.setup.disk;
            return Err(Why::TooLarge(format!(
                "it and its images take about {} bytes of disk, of which engines may have {most} here",
                disk.saturating_add(size)
            )));
        }
        let memory = limits::compile_memory(size);
        let most = shared.admission.lock().job_memory();
        if memory > most {
            return Err(Why::TooLarge(format!(
                "compiling it takes about {memory} bytes of memory, {most} are donated"
            )));
        }
        self.stage(engine, Stage::Waiting);
        let place = self.queue.take(()).ok_or_else(|| Why::NoRoom("other engines are compiled first".into()))?;
        let _alone = self.compiler.lock().await;
        drop(place);
        if self.is_here(&engine) {
            return Ok(());
        }
        let aside = Aside::new(shared, memory);
        let since = Instant::now();
        loop {
            let overdrawn = shared.admission.lock().is_overdrawn();
            if !overdrawn && shared.closed.borrow().is_none() {
                break;
            }
            if since.elapsed() > MEMORY_TIME {
                return Err(Why::NoRoom("there was no time to compile it in".into()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let room = self.room(shared, disk)?;
        let bytes = Arc::new(self.on_disk(move |store| store.component_bytes(&engine)).await?);
        let looked = self.look_into(stored, bytes.clone()).await?;
        let about = Duration::from_millis(size.saturating_mul(COMPILE_MS_PER_MB) / 1_000_000 * variants.len() as u64);
        self.stage(engine, Stage::Compiling { since: Instant::now(), about });
        let mut images = Images(vec![]);
        for variant in variants {
            images.0.push(self.compile(shared, engine, *variant, memory, bytes.clone()).await?);
        }
        self.try_and_add(shared, stored, looked, images).await?;
        drop((room, aside));
        self.count(shared);
        Ok(())
    }

    /// Compares the bytes with what is published of them, and asks the policy once more, which rules on what they ask for.
    async fn look_into(&self, stored: &Stored, bytes: Arc<Vec<u8>>) -> Result<Looked, Why> {
        let grant = self.setup.grant.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = eider_sandbox::inspect(&bytes).map_err(|e| e.to_string())?;
            match found.refusal(&grant) {
                Some(why) => Err(why),
                None => Ok((Digests::of(&bytes), touches_of(&found))),
            }
        });
        let (digests, touches) = looked.await.map_err(own)?.map_err(Why::Useless)?;
        let name = stored.manifest.name.clone();
        let before = self.on_disk(move |store| store.admitted(&name)).await?;
        let look = || Ok::<Touches, String>(touches.clone());
        let build = Candidate {
            hash: stored.hash,
            bundle: Some(&stored.bundle),
            component: Some((&digests, &look as &Look<'_>)),
            yanks: &stored.yanks,
            before: before.as_ref(),
            now: now_s(),
        };
        let judged = self.judge(&build);
        let rule = judged.admitted().ok_or_else(|| Why::Refused(judged.refusal()))?;
        let (yanked, by_publisher) = (rule.yanked, judged.by_publisher());
        Ok(Looked { yanked, by_publisher, touches: Arc::new(touches) })
    }

    /// An image; called off when the machine's owner wants the machine.
    async fn compile(
        &self,
        shared: &Shared,
        engine: Hash,
        variant: Variant,
        memory: u64,
        bytes: Arc<Vec<u8>>,
    ) -> Result<Image, Why> {
        let command = CellCommand { compile_memory: memory, ..self.setup.command.clone() };
        let folder = self.setup.images.clone();
        let called_off = Cancel::default();
        let cancelled = called_off.0.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            let cache = ImageCache::open(folder, command)?.cancelled_by(cancelled);
            cache.image(engine.into(), variant, || Ok(bytes.to_vec()), |_| {})
        });
        tokio::pin!(compiling);
        let mut closed = shared.closed.clone();
        let objected = async move { closed.wait_for(Option::is_some).await.is_ok() };
        let compiled = tokio::select! {
            compiled = &mut compiling => compiled,
            true = objected => {
                called_off.0.store(true, Ordering::Relaxed);
                compiling.await
            }
        };
        compiled.map_err(own)?.map_err(|e| match e {
            ImageError::Compile(_) | ImageError::TooLarge(_) | ImageError::WrongBytes { .. } => {
                Why::Useless(e.to_string())
            }
            ImageError::Cancelled => Why::NoRoom("the machine's owner needs it".into()),
            // Of this machine: another may have more time, memory, disk.
            e => Why::Failed(e.to_string()),
        })
    }

    /// Before it is offered, it has run.
    async fn try_and_add(
        &self,
        shared: &Shared,
        stored: &Stored,
        looked: Looked,
        mut images: Images,
    ) -> Result<(), Why> {
        let engine = stored.hash;
        let name = format!("{} {}", stored.manifest.name, stored.manifest.version);
        let pools: Vec<Pool> =
            images.0.iter().map(|image| Pool::start(self.setup.command.clone(), image.clone(), 1)).collect();
        for pool in &pools {
            let tried = tokio::time::timeout(TRIAL_TIME, trial(engine, pool)).await;
            tried.map_err(|_| Why::Failed(format!("it does not answer {TRIAL:?} in time")))??;
        }
        // What its owner's rule of bytes alone admits opens nothing for others of the name, which anybody can have given it.
        if looked.by_publisher {
            let (name, touches) = (stored.manifest.name.clone(), stored.manifest.build.touches.clone());
            self.on_disk(move |store| store.admit(&name, &touches)).await?;
        }
        let idle = self.setup.idle_cell * pools.len() as u64;
        let images = std::mem::take(&mut images.0);
        let on_disk = |image: &Image| std::fs::metadata(image.path()).map_or(0, |m| m.len());
        let here = Here {
            name: name.clone(),
            disk: images.iter().map(on_disk).sum(),
            idle,
            images: images.iter().map(|image| image.path().to_owned()).collect(),
            used: Instant::now(),
            users: Arc::default(),
            touches: looked.touches,
            yanked: looked.yanked,
            gone: CancellationToken::new(),
            looked: None,
        };
        for pool in pools {
            self.setup.pools.add(pool);
        }
        {
            let mut state = self.state.lock();
            state.here.insert(engine, here);
            let mut admission = shared.admission.lock();
            admission.change_idle(idle, 0);
            admission.set_engine(engine, Some(Ok(self.profiles())));
        }
        tracing::info!("engine {name} ({}) is run from now on", engine.short());
        Ok(())
    }
}

/// What it is, and one query, each in a cell.
async fn trial(engine: Hash, pool: &Pool) -> Result<(), Why> {
    let variant = pool.image().variant();
    let runner = CellRunner::new([pool.clone()], std::env::temp_dir(), Arc::new(Uncounted));
    let task = Task { sql: TRIAL.into(), inputs: vec![], time_us: 0, seed: [0; 32], salt: [0; 32] };
    let fuel = (variant == Variant::Metered).then_some(limits::IDLE_FUEL);
    let limits = Limits { memory: TRIAL_MEMORY, result: 1 << 20, run_ms: 60_000, fuel };
    let work = Work { task, limits, engine, variant };
    // Of this machine, or of the engine: a cell that ends does not say which.
    let failed = |e: &dyn std::fmt::Display| Why::Failed(format!("it does not run: {e}"));
    let cell = pool.take().await.map_err(|e| failed(&e))?;
    let described = cell.describe().await.map_err(|e| failed(&e))?;
    let it = described.map_err(|e| Why::Useless(format!("it does not say what it is: {e}")))?;
    tracing::info!("engine {} says that it is {:?} {:?}", engine.short(), it.name, it.version);
    let (progress, _) = watch::channel(Progress { stage: JobStage::Preparing, done: 0, bytes_read: 0 });
    match runner.run(work, &NoInputs, progress).await {
        Ok(product) => match product.outcome {
            Outcome::Completed { .. } => Ok(()),
            Outcome::Failed { kind, message, .. } => {
                Err(Why::Useless(format!("{TRIAL:?} fails in it: {kind}: {message}")))
            }
        },
        Err(e) => Err(failed(&e)),
    }
}
