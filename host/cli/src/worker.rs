//! `eider worker`: donate this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use bytesize::ByteSize;
use eider_node::{Paths, Worker, WorkerPolicy, WorkerSetup};
use eider_protocol::DataClass;
use eider_sandbox::Variant;

use crate::setup;

#[derive(clap::Args)]
pub(crate) struct WorkerArgs {
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
    /// Processor threads: a job runs on one, so no more jobs than this run at a time.
    #[arg(long)]
    threads: Option<u32>,
    /// Disk for cached inputs.
    #[arg(long)]
    disk: Option<ByteSize>,
    /// Data classes that are served: public, internal.
    #[arg(long, value_delimiter = ',', value_parser = class)]
    classes: Option<Vec<DataClass>>,
    /// Serve metered jobs too.
    #[arg(long)]
    metered: bool,
    /// Another engine: a component file.
    #[arg(long, value_name = "FILE")]
    engine: Option<PathBuf>,
}

fn class(text: &str) -> Result<DataClass, String> {
    match text {
        "public" => Ok(DataClass::Public),
        "internal" => Ok(DataClass::Internal),
        "sensitive" => Err("sensitive data needs proven hardware (attestation), which is not built yet".into()),
        _ => Err(format!("{text:?} is not public or internal")),
    }
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
        policy.threads = self.threads.or(policy.threads);
        policy.disk = self.disk.unwrap_or(policy.disk);
        policy.classes = self.classes.clone().unwrap_or(policy.classes);
        policy.metered |= self.metered;
        Ok(policy)
    }
}

pub(crate) async fn worker(args: WorkerArgs) -> Result<ExitCode> {
    let policy = args.policy()?;
    let donation = policy.donation()?;
    let paths = Paths::from_env()?;
    let identity = setup::identity(&paths.key())?;
    let engine = setup::engine(args.engine.as_ref())?;
    let stop = setup::stop_signal()?;
    let variants = if policy.metered { Variant::ALL.to_vec() } else { vec![Variant::Plain] };
    let mut images = vec![];
    for variant in &variants {
        tokio::select! {
            image = setup::image(&paths, &engine, *variant) => images.push(image?),
            () = stop.cancelled() => std::process::exit(130),
        }
    }
    let ahead = usize::try_from(donation.jobs)?.min(4);
    let setup = WorkerSetup {
        identity,
        listen: policy.listen,
        engine: engine.hash,
        variants,
        cache: paths.home.join("inputs"),
        runner: Arc::new(setup::runner(images, ahead)?),
        donation: donation.clone(),
    };
    let worker = Worker::start(setup)?;
    eprintln!(
        "worker {}: {} for {} jobs at a time, {} disk, engine {}",
        worker.node().short(),
        ByteSize(donation.memory),
        donation.jobs,
        ByteSize(donation.disk),
        engine.name
    );
    eprintln!(
        "its sandbox is WebAssembly in a process of its own; the operating-system jail around it is not built yet"
    );
    println!("listening {}#{}", worker.address(), worker.node());
    stop.cancelled().await;
    worker.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
