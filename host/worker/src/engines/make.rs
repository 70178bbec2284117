//! From a component in the store to an engine that is run: looked into, compiled in the jail, tried in a cell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_engines::{Candidate, Digests, Look, Stored, Touches, Yanked};
use eider_protocol::{Hash, Limits, Outcome, Progress, Stage as JobStage, Task};
use eider_runner::{CellRunner, InputReader, Reading, Runner, Uncounted, Work};
use eider_sandbox::{BrokerError, CellCommand, Image, ImageCache, ImageError, Pool, Variant, limits};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Engines, Here, Stage, Why, now_s, touches_of};
use crate::worker::Shared;

/// What a new engine is tried with.
const TRIAL: &str = "SELECT 1";
/// It has done by then.
const TRIAL_TIME: Duration = Duration::from_secs(60);
/// What it may use: what an engine wants before its job, and as much again.
const TRIAL_MEMORY: u64 = 2 * limits::IDLE_MEMORY;
/// How long memory is waited for: by then every job that ran has ended.
const MEMORY_TIME: Duration = Duration::from_secs(3_600);
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

struct NoInputs;

impl InputReader for NoInputs {
    fn read<'a>(&'a self, _: u32, _: u64, _: &'a mut [u8]) -> Reading<'a> {
        Box::pin(std::future::ready(Err(BrokerError::InputUnavailable("none".into(), "there is none".into()))))
    }
}

impl Engines {
    /// Makes a build of the store one that is run. One at a time is compiled, in memory that jobs do not have meanwhile.
    pub(super) async fn make(&self, shared: &Shared, stored: &Stored) -> Result<(), Why> {
        let (engine, size) = (stored.hash, stored.manifest.digests.size);
        let bytes = Arc::new(self.setup.store.component_bytes(&engine).map_err(|e| Why::Broken(e.to_string()))?);
        let yanked = self.look_into(stored, bytes.clone()).await?;
        self.stage(engine, Stage::Waiting);
        let _alone = self.compiler.lock().await;
        let memory = limits::compile_memory(size);
        let most = shared.admission.lock().job_memory();
        if memory > most {
            return Err(Why::TooLarge(format!(
                "compiling it takes about {memory} bytes of memory, {most} are donated"
            )));
        }
        let aside = Aside::new(shared, memory);
        let since = Instant::now();
        while shared.admission.lock().is_overdrawn() {
            if since.elapsed() > MEMORY_TIME {
                return Err(Why::NoRoom("there was no memory to compile it in".into()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let about = Duration::from_millis(
            size.saturating_mul(COMPILE_MS_PER_MB) / 1_000_000 * self.setup.variants.len() as u64,
        );
        self.stage(engine, Stage::Compiling { since: Instant::now(), about });
        let mut images = vec![];
        for variant in &self.setup.variants {
            images.push(self.compile(engine, *variant, memory, bytes.clone()).await?);
        }
        let on_disk = |image: &Image| std::fs::metadata(image.path()).map_or(0, |m| m.len());
        // The component is in the store, and counted with it.
        let disk = images.iter().map(on_disk).sum();
        let room = self.room(shared, disk);
        let paths: Vec<_> = images.iter().map(|image| image.path().to_owned()).collect();
        let made = match room {
            Ok(_room) => self.try_and_add(shared, stored, yanked, images, disk).await,
            Err(why) => Err(why),
        };
        if made.is_err() {
            for path in paths {
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_file(path.with_extension("mac"));
            }
        }
        drop(aside);
        made
    }

    /// Compares the bytes with what is published of them, and asks the policy once more, which rules on what they ask for.
    async fn look_into(&self, stored: &Stored, bytes: Arc<Vec<u8>>) -> Result<Yanked, Why> {
        let grant = self.setup.grant.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = eider_sandbox::inspect(&bytes).map_err(|e| e.to_string())?;
            match found.refusal(&grant) {
                Some(why) => Err(why),
                None => Ok((Digests::of(&bytes), touches_of(&found))),
            }
        });
        let looked = looked.await.map_err(|e| Why::Broken(e.to_string()))?;
        let (digests, touches) = looked.map_err(Why::Useless)?;
        let before = self.setup.store.admitted(&stored.manifest.name).map_err(|e| Why::Broken(e.to_string()))?;
        let look = || Ok::<Touches, String>(touches.clone());
        let build = Candidate {
            hash: stored.hash,
            bundle: Some(&stored.bundle),
            component: Some((&digests, &look as &Look<'_>)),
            before: before.as_ref(),
            now: now_s(),
        };
        let judged = self.judge(&build);
        let rule = judged.admitted().ok_or_else(|| Why::Refused(judged.refusal()))?;
        Ok(rule.yanked)
    }

    async fn compile(&self, engine: Hash, variant: Variant, memory: u64, bytes: Arc<Vec<u8>>) -> Result<Image, Why> {
        let command = CellCommand { compile_memory: memory, ..self.setup.command.clone() };
        let folder = self.setup.images.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let cache = ImageCache::open(folder, command)?;
            cache.image(engine.into(), variant, || Ok(bytes.to_vec()), |_| {})
        });
        let compiled = compiled.await.map_err(|e| Why::Broken(e.to_string()))?;
        compiled.map_err(|e| match e {
            ImageError::Io { .. } | ImageError::Unsafe(_) => Why::Broken(e.to_string()),
            e => Why::Useless(e.to_string()),
        })
    }

    /// Before it is offered, it has run.
    async fn try_and_add(
        &self,
        shared: &Shared,
        stored: &Stored,
        yanked: Yanked,
        images: Vec<Image>,
        disk: u64,
    ) -> Result<(), Why> {
        let engine = stored.hash;
        let name = format!("{} {}", stored.manifest.name, stored.manifest.version);
        let pools: Vec<Pool> =
            images.iter().map(|image| Pool::start(self.setup.command.clone(), image.clone(), 1)).collect();
        for pool in &pools {
            let tried = tokio::time::timeout(TRIAL_TIME, trial(engine, pool)).await;
            tried.map_err(|_| Why::Useless(format!("it does not answer {TRIAL:?} in time")))??;
        }
        let touches = &stored.manifest.build.touches;
        self.setup.store.admit(&stored.manifest.name, touches).map_err(|e| Why::Broken(e.to_string()))?;
        let idle = self.setup.idle_cell * pools.len() as u64;
        let here = Here {
            name: name.clone(),
            disk,
            idle,
            images: images.iter().map(|image| image.path().to_owned()).collect(),
            used: Instant::now(),
            users: Arc::default(),
            yanked,
            gone: CancellationToken::new(),
            looked: None,
        };
        for pool in pools {
            self.setup.pools.add(pool);
        }
        let profiles = images.iter().map(|image| image.variant().profile().to_string()).collect();
        self.state.lock().here.insert(engine, here);
        let mut admission = shared.admission.lock();
        admission.change_idle(idle, 0);
        admission.set_engine(engine, Some(Ok(profiles)));
        tracing::info!("engine {name} ({}) is run from now on", engine.short());
        Ok(())
    }
}

/// One query in one cell.
async fn trial(engine: Hash, pool: &Pool) -> Result<(), Why> {
    let variant = pool.image().variant();
    let runner = CellRunner::new([pool.clone()], std::env::temp_dir(), Arc::new(Uncounted));
    let task = Task { sql: TRIAL.into(), inputs: vec![], time_us: 0, seed: [0; 32], salt: [0; 32] };
    let fuel = (variant == Variant::Metered).then_some(limits::IDLE_FUEL);
    let limits = Limits { memory: TRIAL_MEMORY, result: 1 << 20, run_ms: 60_000, fuel };
    let work = Work { task, limits, engine, variant };
    let useless = |e: &dyn std::fmt::Display| Why::Useless(format!("it does not run: {e}"));
    let cell = pool.take().await.map_err(|e| useless(&e))?;
    let described = cell.describe().await.map_err(|e| useless(&e))?;
    described.map_err(|e| Why::Useless(format!("it does not say what it is: {e}")))?;
    let (progress, _) = watch::channel(Progress { stage: JobStage::Preparing, done: 0, bytes_read: 0 });
    match runner.run(work, &NoInputs, progress).await {
        Ok(product) => match product.outcome {
            Outcome::Completed { .. } => Ok(()),
            Outcome::Failed { kind, message, .. } => {
                Err(Why::Useless(format!("{TRIAL:?} fails in it: {kind}: {message}")))
            }
        },
        Err(e) => Err(useless(&e)),
    }
}
