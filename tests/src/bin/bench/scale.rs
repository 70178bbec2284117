//! One requester among many workers, with many jobs under way; many files; a file larger than any disk.

use std::fs::File;
use std::io::Seek;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use eider_core::{Donation, Plan};
use eider_net::file_outboard;
use eider_node::{
    Candidate, Discard, EngineBinary, InputArg, InputReader, Inputs, JobRecord, Kept, Notice, Product, Requester,
    Runner, Running, Spooled, What, Work, Worker, WorkerSetup, folder,
};
use eider_protocol::{DataClass, Hash, Identity, Metering, Outcome, Progress};
use eider_sandbox::Variant;
use eider_tests::process::{descriptors, memory};
use eider_tests::{Job, request_of};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Workers in this process.
const WORKERS: usize = 50;

/// Runs nothing: every job has the same small result.
struct Stub;

impl Runner for Stub {
    fn run<'a>(&'a self, _: Work, _: &'a dyn InputReader, _: watch::Sender<Progress>) -> Running<'a> {
        Box::pin(async move {
            let mut file = tempfile::tempfile()?;
            std::io::Write::write_all(&mut file, &[7; 4096])?;
            file.rewind()?;
            let outboard = file_outboard(&mut file, 4096)?;
            let root = Hash::from(outboard.root);
            let metering = Metering { fuel: None, bytes_read: 0, reads: 0, memory: 0 };
            let outcome = Outcome::Completed { root, length: 4096, rows: 1, metering };
            Ok(Product { outcome, result: Some(Kept::uncounted(file, outboard)) })
        })
    }
}

fn worker(home: &Path, i: usize) -> Result<(Worker, Candidate)> {
    let donation = Donation {
        memory: 1 << 40,
        idle_memory: 0,
        jobs: 64,
        per_requester: 64,
        disk: 1 << 40,
        result: 8 << 30,
        run_ms: 600_000,
        classes: vec![DataClass::Public],
        price: 0,
    };
    let engine = EngineBinary::built_in()?;
    let worker = Worker::start(WorkerSetup {
        identity: Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?,
        listen: "127.0.0.1:0".parse()?,
        spooled: Spooled::new(donation.disk),
        donation,
        engines: [(engine.hash, Ok(vec![Variant::Plain.profile().to_string()]))].into(),
        taking: None,
        running: Arc::default(),
        closed: watch::channel(None).1,
        cache: folder(&home.join(i.to_string()))?,
        runner: Arc::new(Stub),
        attester: None,
    })?;
    let candidate = Candidate { address: worker.address().to_string(), node: Some(worker.node()) };
    Ok((worker, candidate))
}

pub(crate) async fn scale() -> Result<()> {
    println!(
        "| jobs at once | candidates | living | s | jobs/s | MB at most | descriptors | workers known | signatures checked a job |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (jobs, candidates) in [(1, 1000), (100, 50), (1000, 50), (1000, 1000)] {
        grid(jobs, candidates).await?;
    }
    files()?;
    giant(std::env::var("EIDER_GIANT_GIB").map_or(Ok(64), |n| n.parse())?)
}

async fn grid(jobs: usize, candidates: usize) -> Result<()> {
    let home = tempfile::tempdir()?;
    let (workers, mut asked): (Vec<_>, Vec<_>) =
        (0..WORKERS).map(|i| worker(home.path(), i)).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    // The others are not there: nobody listens on the ports of 127.9.
    let dead = |i: usize| format!("127.9.{}.{}:9", i / 250, 1 + i % 250).parse().map_err(anyhow::Error::msg);
    for i in asked.len()..candidates {
        asked.push(dead(i)?);
    }
    let requester = Requester::new(Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?, home.path());
    let plan = Plan { bid_timeout_ms: 60_000, busy_ms: 300_000, stall_ms: 60_000, ..Plan::new(3, 2, 600_000) };
    let request = request_of(&Job { plan, ..Job::new("SELECT 1") }, asked)?;
    let started = Instant::now();
    let mut running: JoinSet<Result<JobRecord>> = JoinSet::new();
    for _ in 0..jobs {
        let (requester, request) = (requester.clone(), request.clone());
        running.spawn(async move {
            let notices = watch::channel(Notice::default()).0;
            Ok(requester.request(request, Box::new(Discard), notices, Default::default()).await?)
        });
    }
    let (mut most, mut open) = (0, 0);
    let (mut done, mut checked) = (0, 0);
    while done < jobs {
        match tokio::time::timeout(Duration::from_millis(100), running.join_next()).await {
            Ok(Some(record)) => {
                let record = record??;
                ensure!(record.end.word() == "verified", "{}: {}", record.end, record.reason);
                ensure!(record.peers.iter().all(|p| !p.at_fault), "somebody was blamed");
                checked += record.timeline.iter().filter(|m| matches!(m.what, What::Bid | What::Commit)).count()
                    + record.peers.iter().filter(|p| p.signed_receipt.is_some()).count();
                done += 1;
            }
            Ok(None) => break,
            Err(_) => {}
        }
        most = most.max(memory(std::process::id(), "RssAnon"));
        open = open.max(descriptors(std::process::id()).len());
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "| {jobs} | {candidates} | {WORKERS} | {took:.1} | {:.0} | {} | {open} | {} | {:.1} |",
        jobs as f64 / took,
        most / 1_000_000,
        requester.known_workers(),
        checked as f64 / jobs as f64
    );
    requester.close().await;
    for worker in workers {
        worker.shutdown().await;
    }
    Ok(())
}

fn files() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for i in 0..100_000 {
        std::fs::write(dir.path().join(format!("{i:06}.csv")), "a\n1\n")?;
    }
    let pin = |pattern: &str| {
        let arg: InputArg = format!("t={}/{pattern}", dir.path().display()).parse().map_err(anyhow::Error::msg)?;
        let started = Instant::now();
        let pinned = Inputs::pin(&[arg], dir.path(), |_, _, _| {});
        Ok::<_, anyhow::Error>((pinned, started.elapsed().as_secs_f64(), descriptors(std::process::id()).len()))
    };
    let (refused, s, _) = pin("*.csv")?;
    println!("a glob of 100,000 files: {} in {s:.2} s", refused.err().context("it was not refused")?);
    let (pinned, s, open) = pin("00*.csv")?;
    println!("one of {}: pinned in {s:.2} s, {open} descriptors open after it", pinned?.pinned().len());
    Ok(())
}

/// A sparse file: its hashes are as many as a full one's.
fn giant(gib: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("giant.csv");
    File::create(&path)?.set_len(gib << 30)?;
    let before = memory(std::process::id(), "RssAnon");
    let arg: InputArg = format!("t={}", path.display()).parse().map_err(anyhow::Error::msg)?;
    let (started, mut most) = (Instant::now(), 0);
    let pinned = Inputs::pin(&[arg], dir.path(), |_, _, _| most = most.max(memory(std::process::id(), "RssAnon")))?;
    println!(
        "a sparse input of {gib} GiB: pinned in {:.0} s with {} MB more memory; its hashes are {} MB in a file without a name",
        started.elapsed().as_secs_f64(),
        most.saturating_sub(before) / 1_000_000,
        (pinned.summary().bytes >> 14) * 64 / 1_000_000
    );
    Ok(())
}
