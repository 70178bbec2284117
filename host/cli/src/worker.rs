//! `eider worker`: donate this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use eider_engines::{Candidate, EnginePolicy};
use eider_node::{EngineBinary, LocalWorker, Paths, PauseFile, Taking, WorkerParts, WorkerPolicy};
use eider_protocol::DataClass;
use eider_sandbox::{CONTRACT, CellCommand, Image, Variant, Wall, Walls, probe_walls};

use crate::setup;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkerArgs {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    /// What is donated; see policies/worker.toml. The options below override it.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Address to listen on, UDP; port 0 for any.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Memory for all jobs together.
    #[arg(long)]
    memory: Option<ByteSize>,
    /// Jobs at a time.
    #[arg(long)]
    jobs: Option<u32>,
    /// Jobs of one requester at a time; it gets as large a part of memory and disk.
    #[arg(long)]
    per_requester: Option<u32>,
    /// Processor threads: a job runs on one, so no more jobs than this run at a time.
    #[arg(long)]
    threads: Option<u32>,
    /// Disk for cached inputs, results, and engines that are fetched, together.
    #[arg(long)]
    disk: Option<ByteSize>,
    /// Data classes that are served: public, internal, and with proven hardware sensitive.
    #[arg(long, value_delimiter = ',')]
    classes: Option<Vec<DataClass>>,
    /// Serve metered jobs too.
    #[arg(long)]
    metered: bool,
    /// An engine to run beside the built-in one, whatever the engine policy says: a component file, or NAME, NAME@VERSION of `eider engine
    /// list`. Repeat for more.
    #[arg(long = "engine", value_name = "ENGINE")]
    engines: Vec<String>,
    /// Whether the built-in engine is run, and which builds are fetched and run when jobs ask for them; see policies/engines.toml. By `engines.toml` in EIDER_HOME, or
    /// as shipped, unless said.
    #[arg(long, value_name = "FILE")]
    engine_policy: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum WorkerCommand {
    /// Stop the jobs of this node's worker, and take none until `eider worker resume`.
    Pause {
        /// Resume by itself after this time, for example 2h.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        time: Option<Duration>,
    },
    /// End a pause.
    Resume,
}

fn control(command: &WorkerCommand) -> Result<ExitCode> {
    let file = PauseFile::of(&Paths::from_env()?.home);
    match command {
        WorkerCommand::Pause { time } => {
            let until = time.map(|t| SystemTime::now().checked_add(t).context("--for is too long")).transpose()?;
            file.pause(until)?;
            println!("paused: jobs are handed back within a second, and none is taken");
        }
        WorkerCommand::Resume if file.resume()? => println!("resumed"),
        WorkerCommand::Resume => println!("it was not paused"),
    }
    Ok(ExitCode::SUCCESS)
}

impl WorkerArgs {
    fn policy(&self) -> Result<WorkerPolicy> {
        let mut policy = match &self.policy {
            Some(path) => WorkerPolicy::load(path)?,
            None => WorkerPolicy::default(),
        };
        policy.listen = self.listen.unwrap_or(policy.listen);
        policy.memory = self.memory.unwrap_or(policy.memory);
        policy.jobs = self.jobs.unwrap_or(policy.jobs);
        policy.per_requester = self.per_requester.or(policy.per_requester);
        policy.threads = self.threads.or(policy.threads);
        policy.disk = self.disk.unwrap_or(policy.disk);
        policy.classes = self.classes.clone().unwrap_or(policy.classes);
        policy.metered |= self.metered;
        Ok(policy)
    }
}

pub(crate) async fn worker(args: WorkerArgs) -> Result<ExitCode> {
    if let Some(command) = &args.command {
        return control(command);
    }
    let policy = args.policy()?;
    let memory = policy.donation()?.memory;
    policy.collateral()?;
    let paths = Paths::from_env()?;
    let identity = setup::identity(&paths.key())?;
    let stop = setup::stop_signal()?;
    let command = CellCommand {
        memory: memory.min(4 << 30),
        idle: true,
        require: policy.require.clone(),
        ..setup::cell_command()?
    };
    let (engine_policy, file) = eider_node::engine_policy(&paths, args.engine_policy.as_deref())?;
    let walls = walls(&command).await?;
    let (mut engines, mut names) = (vec![], vec![]);
    for named in std::iter::once(None).chain(args.engines.iter().map(|e| Some(&e[..]))) {
        let (engine, _) = setup::engine(named)?;
        let admitted = if named.is_none() { admitted(&engine_policy, &engine) } else { Ok(()) };
        let images = tokio::select! {
            images = async {
                admitted?;
                prepare(&paths, &engine, &policy).await
            } => images,
            () = stop.cancelled() => std::process::exit(130),
        };
        match &images {
            Ok(_) => names.push(engine.name.clone()),
            // Said here once; each Offer for it is declined with the same words.
            Err(e) => tracing::warn!("engine {} ({}) is not run: {e:#}", engine.name, engine.hash.short()),
        }
        engines.push((engine, images.map_err(|e| format!("{e:#}"))));
    }
    let taking = Some(Taking { policy: engine_policy, file });
    let parts = WorkerParts { policy, paths, identity, command, engines, taking };
    let LocalWorker { worker, donation, group, closed } = parts.start(|runner| Arc::new(runner))?;
    eprintln!(
        "worker {}: {} for {} jobs at a time, {} disk, engine {}",
        worker.node().short(),
        ByteSize(donation.memory),
        donation.jobs,
        ByteSize(donation.disk),
        names.join(", ")
    );
    eprintln!("jobs run in WebAssembly, in processes behind {}", list(walls.up.keys()));
    if let Some(group) = &group {
        eprintln!("a control group holds them together: {}", group.holds());
    }
    if !walls.missing.is_empty() {
        eprintln!("this machine lacks {}: `eider doctor` says why", list(walls.missing.keys()));
    }
    if let Some(reason) = &*closed.borrow() {
        eprintln!("it takes no jobs now: {reason}");
    }
    println!("listening {}#{}", worker.address(), worker.node());
    stop.cancelled().await;
    worker.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

fn list<'a>(walls: impl Iterator<Item = &'a Wall>) -> String {
    walls.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What stands around jobs on this machine; without the floor, and what the policy requires, there are none.
async fn walls(command: &CellCommand) -> Result<Walls> {
    let walls = probe_walls(command).await.context("the operating-system jail")?;
    if let Some(lack) = walls.lacks(&command.require) {
        bail!("{lack}; see `eider doctor`");
    }
    Ok(walls)
}

/// Whether the owner's policy has the engine that is built in.
fn admitted(policy: &EnginePolicy, engine: &EngineBinary) -> Result<()> {
    let judged = policy.judge(&Candidate::of_bytes(engine.hash));
    anyhow::ensure!(judged.admitted().is_some(), "the engine policy does not admit it: {}", judged.refusal());
    Ok(())
}

/// An engine's images, if the policy grants all that it imports.
async fn prepare(paths: &Paths, engine: &EngineBinary, policy: &WorkerPolicy) -> Result<Vec<Image>> {
    // An engine is not compiled if it needs more than the whole contract: only a policy that grants less has to look.
    if !CONTRACT.iter().all(|interface| policy.grant.iter().any(|g| g == interface)) {
        let found = eider_sandbox::inspect(&engine.bytes()?)?;
        if let Some(reason) = found.refusal(&policy.grant) {
            bail!("{reason}");
        }
    }
    let mut images = vec![setup::image(paths, engine, Variant::Plain).await?];
    if policy.metered {
        images.push(setup::image(paths, engine, Variant::Metered).await?);
    }
    Ok(images)
}
