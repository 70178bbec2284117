//! A worker put together: cells of its engines' images, their control group, its cache and spool, its owner's wishes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytesize::ByteSize;
use eider_core::Donation;
use eider_engines::{EnginePolicy, EngineStore};
use eider_protocol::Identity;
use eider_runner::{CellRunner, Runner};
use eider_sandbox::{CellCommand, CellGroup, Image, Pool, Variant};
use eider_worker::{
    DeviceError, EngineSetup, PauseFile, PolicyError, Spooled, Worker, WorkerError, WorkerPolicy, WorkerSetup,
    watch_owner,
};
use tokio::sync::watch;

use crate::{EngineBinary, Paths, folder};

/// Memory of a cell that waits for a job, bytes: about 17 MB of its own, and some more while it starts.
const IDLE_CELL: u64 = 24 << 20;

/// Engines that come while a worker runs have at most so large a part of the donated disk.
const ENGINES_PART: u64 = 2;

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// Its owner's wishes.
    pub policy: WorkerPolicy,
    /// Where it keeps its things.
    pub paths: Paths,
    /// Who it is.
    pub identity: Identity,
    /// How its cells are started.
    pub command: CellCommand,
    /// The engines that it knows: their images, or why it runs none of them.
    pub engines: Vec<(EngineBinary, Result<Vec<Image>, String>)>,
    /// Which others it takes when jobs ask for them, if any.
    pub taking: Option<Taking>,
}

/// Which engine builds a worker takes while it runs.
#[derive(Debug)]
pub struct Taking {
    /// Which.
    pub policy: EnginePolicy,
    /// The policy's file, if it is not the shipped one: read again when it changes.
    pub file: Option<PathBuf>,
}

/// A worker that is up, and what there is to say of it.
pub struct LocalWorker {
    /// It.
    pub worker: Worker,
    /// What it gives.
    pub donation: Donation,
    /// The control group around its cells, where this machine has one.
    pub group: Option<CellGroup>,
    /// Why it takes no jobs now, if it takes none.
    pub closed: watch::Receiver<Option<String>>,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No engine has an image.
    #[error("there is no engine to run")]
    NoEngine,
    /// Its policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Its memory is taken before there is a job.
    #[error(
        "`memory` is {}, and cells that wait for jobs of {images} images take {} of it: donate more, or fewer jobs or engines",
        ByteSize(*.memory), ByteSize(*.idle)
    )]
    Memory {
        /// Donated, bytes.
        memory: u64,
        /// What waiting cells take, bytes.
        idle: u64,
        /// Images that cells wait for.
        images: usize,
    },
    /// Its folders.
    #[error("the worker's folders: {0}")]
    Folder(#[from] io::Error),
    /// What vouches for this machine.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The rest.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl WorkerParts {
    /// Starts it. `runner` may put something before what runs its jobs.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(self, runner: impl FnOnce(CellRunner) -> Arc<dyn Runner>) -> Result<LocalWorker, StartError> {
        let Self { policy, paths, identity, mut command, engines, taking } = self;
        let (mut donation, source) = (policy.donation()?, policy.collateral()?);
        let (mut stands, mut images) = (BTreeMap::new(), vec![]);
        for (engine, made) in engines {
            let profiles = |made: &Vec<Image>| made.iter().map(|i| i.variant().profile().to_string()).collect();
            stands.insert(engine.hash, made.as_ref().map(profiles).map_err(Clone::clone));
            images.extend(made.into_iter().flatten());
        }
        if images.is_empty() {
            return Err(StartError::NoEngine);
        }
        // Cells that wait for jobs, of each image.
        let ahead = donation.jobs.min(4);
        let waiting = u64::from(ahead) * images.len() as u64;
        donation.idle_memory = IDLE_CELL * waiting;
        if donation.idle_memory >= donation.memory {
            let (memory, idle) = (donation.memory, donation.idle_memory);
            return Err(StartError::Memory { memory, idle, images: images.len() });
        }
        // Engines that come have a cell each that waits: small ones, whose processes and memory this is enough for.
        let more = if taking.is_some() { 4 } else { 0 };
        command.group = CellGroup::create(donation.memory, u64::from(donation.jobs) + waiting + more)
            .inspect_err(|e| tracing::debug!("no control group: {e}"))
            .ok();
        let group = command.group.clone();
        let running = Arc::new(AtomicUsize::new(0));
        let counted = running.clone();
        let pause = PauseFile::of(&paths.home);
        let closed = watch_owner(policy.presence(), pause, move || counted.load(Ordering::Relaxed));
        let (cache, spool, spooled) = (folder(&paths.inputs())?, paths.spool(), Spooled::new(donation.disk));
        folder(&spool)?;
        let collateral = source.map(|source| folder(&paths.collateral()).map(|_| (source, paths.collateral())));
        let collateral = collateral.transpose()?;
        let pools = images.into_iter().map(|image| Pool::start(command.clone(), image, ahead as usize));
        let cells = CellRunner::new(pools, spool, spooled.clone());
        let taking = taking.map(|taking| {
            Ok::<_, io::Error>(EngineSetup {
                policy: Arc::new(taking.policy),
                policy_file: taking.file,
                store: Arc::new(EngineStore::open(folder(&paths.builds())?)),
                disk: donation.disk / ENGINES_PART,
                images: paths.engines(),
                command: command.clone(),
                pools: cells.pools(),
                variants: if policy.metered { vec![Variant::Plain, Variant::Metered] } else { vec![Variant::Plain] },
                grant: policy.grant.clone(),
                idle_cell: IDLE_CELL,
            })
        });
        let worker = Worker::start(WorkerSetup {
            identity,
            listen: policy.listen,
            engines: stands,
            closed: closed.clone(),
            taking: taking.transpose()?,
            running,
            cache,
            runner: runner(cells),
            spooled,
            donation: donation.clone(),
            attester: policy.attest.as_ref().map(|attest| attest.attester(collateral)).transpose()?,
        })?;
        Ok(LocalWorker { worker, donation, group, closed })
    }
}
