//! `eider query`: a job on a grid.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use eider_core::Plan;
use eider_engines::Stored;
use eider_node::{Candidate, Handout, JobEnd, JobRecord, JobRequest, Notice, Paths, RequestError, Requester, Sink};
use eider_protocol::{DataClass, Outcome};
use eider_results::Output;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::job::JobArgs;
use crate::words::{self, message, word};
use crate::{audit, policy, setup};

/// Largest peers file, bytes.
const PEERS_MAX: u64 = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    job: JobArgs,
    /// A worker that may be asked: HOST:PORT, or HOST:PORT#NODE_ID to accept only that node. Repeat for more.
    #[arg(short, long = "worker", value_name = "ADDR")]
    workers: Vec<Candidate>,
    /// A file with one worker a line. Without workers, the grid that `eider up` runs is asked.
    #[arg(long, env = "EIDER_PEERS", value_name = "FILE")]
    peers: Option<PathBuf>,
    /// How many workers run the query.
    #[arg(short, long, default_value_t = 3)]
    k: usize,
    /// How many of them must agree; a majority of k unless said.
    #[arg(short, long)]
    quorum: Option<usize>,
    /// Class of the data, public, internal or sensitive: decides which workers may see it.
    #[arg(long, value_name = "CLASS", default_value = "public")]
    class: DataClass,
    /// What workers must prove of their hardware: a policy file or a shipped policy's name; that of the class unless said.
    #[arg(long, value_name = "POLICY")]
    attest: Option<PathBuf>,
    /// How many executions the job may cause in all, those of workers that fail, lie or stall included; k and a quorum unless
    /// said.
    #[arg(long, value_name = "N")]
    executions: Option<usize>,
    /// Most that a worker may ask, in micro-credits.
    #[arg(long, default_value_t = 0)]
    max_price: u64,
    /// A worker that shows no sign of life for this long is replaced.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    stall: Duration,
    /// While too few workers are free, or have the engine, they are asked again for so long. Those that fetch it say how long that takes.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Write the verification record as JSON, to standard error or to a file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", require_equals = true)]
    explain: Option<PathBuf>,
}

pub(crate) async fn query(args: QueryArgs) -> Result<ExitCode> {
    let sql = args.job.sql()?;
    let candidates = candidates(&args)?;
    let class = args.class;
    let requirement = policy::for_class(class, args.attest.as_ref())?;
    if requirement.policy.development {
        eprintln!("DEVELOPMENT POLICY {}: evidence made by software counts", requirement.policy.name);
    }
    let deadline_ms = u64::try_from(args.job.deadline.as_millis())?;
    let usual = Plan::new(args.k, args.quorum.unwrap_or(args.k / 2 + 1), deadline_ms);
    let plan = Plan {
        max_price: args.max_price,
        executions: args.executions.unwrap_or(usual.executions),
        stall_ms: u64::try_from(args.stall.as_millis())?,
        busy_ms: u64::try_from(args.wait.as_millis())?,
        ..usual
    };
    plan.check()?;
    let inputs = args.job.pin().await?;
    let (engine, stored) = args.job.engine()?;
    let handout = stored.map(handout).transpose()?;
    let stop = setup::stop_signal()?;
    let output = args.job.output()?;
    let request = JobRequest {
        sql,
        inputs,
        candidates,
        plan,
        engine: engine.hash,
        variant: args.job.variant(),
        class,
        attest: Some(requirement.clone()),
        limits: args.job.limits()?,
        time_us: args.job.time_us()?,
        seed: args.job.seed()?,
    };
    let paths = Paths::from_env()?;
    let mut store = audit::store(&paths)?;
    let requester = Requester::new(setup::identity(&paths.key())?, std::env::temp_dir()).with_memory(store.memory()?);
    if let Some(handout) = handout {
        requester.hand_out(handout);
    }
    let sink: Box<dyn Sink> = Box::new(output.sink());
    let (notices, watched) = watch::channel(Notice::default());
    let bar = tokio::spawn(show_progress(watched, plan.quorum));
    let record = requester.request(request, sink, notices, stop.clone()).await;
    let _ = bar.await;
    let code = match record {
        Ok(record) => {
            let finished = if record.end == JobEnd::Verified { finish(output, &stop).await } else { Ok(true) };
            store.keep(&record, Some(&requirement), &requester.take_learned())?;
            if finished? { report(&record, args.explain.as_deref())? } else { ExitCode::from(130) }
        }
        Err(RequestError::Output(e, record)) => {
            store.keep(&record, Some(&requirement), &requester.take_learned())?;
            match e.kind() {
                // Whoever read our output has enough.
                io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
                io::ErrorKind::Interrupted => {
                    eprintln!("eider: cancelled");
                    ExitCode::from(130)
                }
                _ => return Err(anyhow::Error::from(e).context("the result cannot be written")),
            }
        }
        Err(e) => return Err(e.into()),
    };
    requester.close().await;
    Ok(code)
}

/// What workers may have of an engine of this node's store.
fn handout(stored: Stored) -> Result<Handout> {
    let store = setup::builds(&Paths::from_env())?;
    let name = format!("{} {}", stored.manifest.name, stored.manifest.version);
    let component = store.component(&stored.hash)?.with_context(|| format!("{name} is not here"))?;
    let size = stored.manifest.digests.size;
    Handout::new(stored.hash, stored.bundle.checked_bytes()?, component, size).with_context(|| name)
}

/// Ends the output, unless the user ends the program first: whether it did. A reader that is gone is none of our business.
pub(crate) async fn finish(output: Output, stop: &CancellationToken) -> Result<bool> {
    tokio::select! {
        finished = output.finish() => match finished {
            Err(e) if !e.is_broken_pipe() => Err(e.into()),
            _ => Ok(true),
        },
        () = stop.cancelled() => {
            eprintln!("eider: cancelled");
            Ok(false)
        }
    }
}

fn candidates(args: &QueryArgs) -> Result<Vec<Candidate>> {
    let mut found = args.workers.clone();
    let file = match (&args.peers, found.is_empty()) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => Some(crate::grid::peers_file(&Paths::from_env()?)).filter(|p| p.exists()),
        (None, false) => None,
    };
    if let Some(path) = file {
        let text = read_bounded(&path).with_context(|| format!("peers file {}", path.display()))?;
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            found.push(line.parse().map_err(|e| anyhow::anyhow!("{}:{}: {e}", path.display(), n + 1))?);
        }
    }
    if found.is_empty() {
        bail!(
            "no workers to ask: name some with --worker HOST:PORT or --peers FILE, or start a grid on this machine with `eider up`"
        );
    }
    Ok(found)
}

fn read_bounded(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > PEERS_MAX {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

async fn show_progress(mut watched: watch::Receiver<Notice>, quorum: usize) {
    if !io::stderr().is_terminal() {
        return;
    }
    let bar = setup::busy("asking workers");
    while watched.changed().await.is_ok() {
        let n = watched.borrow_and_update().clone();
        bar.set_message(match n.delivered {
            Some((done, all)) => format!("delivering: {} of {} verified", ByteSize(done), ByteSize(all)),
            None => format!("{} bids, {} running, {} of {quorum} commits", n.bids, n.running, n.commits),
        });
    }
    bar.finish_and_clear();
}

fn report(record: &JobRecord, explain: Option<&Path>) -> Result<ExitCode> {
    if let Some(path) = explain {
        let json = serde_json::to_string_pretty(record)?;
        if path.as_os_str() == "-" {
            eprintln!("{}", words::json(&json));
        } else {
            std::fs::write(path, json).with_context(|| format!("record {}", path.display()))?;
        }
    }
    let took = record.took_ms();
    for peer in record.peers.iter().filter(|p| p.at_fault) {
        eprintln!(
            "{} ({}): {}",
            peer.address,
            peer.node.map_or_else(|| "unknown".into(), |n| n.short()),
            word(&peer.fate)
        );
    }
    Ok(match (record.end, &record.outcome) {
        (JobEnd::Verified, Some(Outcome::Completed { rows, length, .. })) => {
            let by = record.deliverer.map(|n| n.short()).unwrap_or_default();
            eprintln!("{rows} rows, {}, {took:.0} ms: {}; delivered by {by}", ByteSize(*length), record.reason);
            ExitCode::SUCCESS
        }
        (JobEnd::JobFailed, _) => {
            eprintln!("eider: {}", message(&record.reason));
            ExitCode::from(1)
        }
        (JobEnd::Cancelled, _) => {
            eprintln!("eider: cancelled");
            ExitCode::from(130)
        }
        (end, _) => {
            eprintln!("eider: {end}: {}", message(&record.reason));
            for peer in &record.peers {
                let node = peer.node.map(|n| format!(" ({})", n.short())).unwrap_or_default();
                eprintln!("  {}{node}: {}", peer.address, word(&peer.fate));
            }
            ExitCode::from(if end == JobEnd::InputFailed { 1 } else { 3 })
        }
    })
}
