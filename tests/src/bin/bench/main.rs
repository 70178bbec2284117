//! `make bench`: ratios within one run, for times of different runs on shared machines do not compare.
//! `make bench PARTS="start engine"` runs some of it.

mod attest;
mod scale;

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use eider_net::{BlobSink, Endpoint, Pace, Source, file_outboard};
use eider_node::{CellRunner, Discard, EngineBinary, Uncounted, run_local};
use eider_protocol::{Identity, JobSecret, Kind, Lane, NodeId, OfferId, Outcome, SealingKey, Task};
use eider_sandbox::{Cell, CellCommand, ImageCache, Pool, Variant};
use eider_tests::{Behaviour::Honest, Grid, Job, eider, engine_cache, process, target_dir, tpch, work_of};

/// Rounds of each query; the best counts.
const ROUNDS: usize = 5;
/// Bytes of the streaming comparison.
const STREAM: usize = 512 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let parts = ["start", "walls", "grid", "stream", "scale", "attest", "engine"];
    if let Some(unknown) = asked.iter().find(|a| !parts.contains(&a.as_str())) {
        bail!("there is no part {unknown:?}, only {}", parts.join(", "));
    }
    for part in parts.into_iter().filter(|p| asked.is_empty() || asked.iter().any(|a| a == p)) {
        match part {
            "start" => start_of_a_job().await?,
            "walls" => walls().await?,
            "grid" => grid_against_local().await?,
            "stream" => streaming().await?,
            "scale" => scale::scale().await?,
            "attest" => attest::attest().await?,
            _ => engine_against_native().await?,
        }
    }
    Ok(())
}

fn runner(variant: Variant) -> Result<CellRunner> {
    runner_of(variant, CellCommand::new(eider()))
}

fn runner_of(variant: Variant, command: CellCommand) -> Result<CellRunner> {
    let engine = EngineBinary::built_in()?;
    let cache = ImageCache::open(engine_cache().join("engines"), CellCommand::new(eider()))?;
    let image = cache.image(engine.hash.into(), variant, || engine.bytes(), |_| {})?;
    Ok(CellRunner::new([Pool::start(command, image, 2)], std::env::temp_dir(), Arc::new(Uncounted)))
}

/// Runs a job in a prepared cell and returns its seconds.
async fn local(runner: &CellRunner, job: &Job) -> Result<f64> {
    let (work, inputs) = work_of(job)?;
    let started = Instant::now();
    let report = run_local(runner, work, &inputs, &mut Discard).await?;
    let took = started.elapsed().as_secs_f64();
    match report.outcome {
        Outcome::Completed { .. } => Ok(took),
        Outcome::Failed { message, .. } => bail!("{message}"),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn start_of_a_job() -> Result<()> {
    let runner = runner(Variant::Plain)?;
    let mut times = vec![];
    for _ in 0..60 {
        // Let the pool prepare the next cell: what is measured is a job's start, not a cell's.
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        times.push(local(&runner, &Job::new("SELECT 1")).await? * 1e3);
    }
    println!("SELECT 1 in a prepared cell, job to last byte: p50 {:.2} ms (goal 2)", median(times));
    Ok(())
}

/// What the second wall costs: the same cells with and without it, in turns; and what a cell costs that waits.
async fn walls() -> Result<()> {
    let engine = EngineBinary::built_in()?;
    let cache = ImageCache::open(engine_cache().join("engines"), CellCommand::new(eider()))?;
    let image = cache.image(engine.hash.into(), Variant::Plain, || engine.bytes(), |_| {})?;
    let mut starts = vec![];
    let mut cells = vec![];
    for _ in 0..20 {
        let started = Instant::now();
        cells.push(Cell::spawn(&CellCommand::new(eider()), &image).await?);
        starts.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("a cell, from nothing to ready behind its walls: p50 {:.1} ms", median(starts));
    let pids = cells.iter().filter_map(Cell::pid).flat_map(|outer| [vec![outer], process::descendants(outer)].concat());
    let each = pids.map(process::private_memory).sum::<u64>() / cells.len() as u64;
    println!("a cell that waits, in memory of its own: {:.1} MB", each as f64 / 1e6);
    drop(cells);
    let bare = tempfile::tempdir()?;
    let program = bare.path().join("eider-drill-no-walls-closed");
    std::os::unix::fs::symlink(target_dir().join("eider-drill"), &program)?;
    let without = runner_of(Variant::Plain, CellCommand { require: vec![], ..CellCommand::new(program) })?;
    let with = runner(Variant::Plain)?;
    let data = target_dir().join("demo").join("tpch-sf0.1");
    tpch::generate(&data, 0.1)?;
    let mut log = 0.0;
    for n in 1..=tpch::QUERIES {
        let job = Job { inputs: tpch::inputs(&data), ..Job::new(&tpch::query(n)?) };
        let (mut walled, mut open) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            walled = walled.min(local(&with, &job).await?);
            open = open.min(local(&without, &job).await?);
        }
        log += (walled / open).ln() / tpch::QUERIES as f64;
    }
    println!(
        "22 TPC-H queries at scale factor 0.1, behind both walls against the first alone: {:.3} (goal 1.03)",
        log.exp()
    );
    let grid = Grid::start(&[Honest], &["--jobs", "2"])?;
    let (job, started, mut done) = (Job::new("SELECT 1").of(1, 1), Instant::now(), 0u32);
    while started.elapsed().as_secs() < 5 {
        let two = tokio::try_join!(grid.run(&job), grid.run(&job))?;
        done += [two.0, two.1].iter().filter(|r| r.record.end.word() == "verified").count() as u32;
    }
    println!(
        "SELECT 1 on one worker, two at a time: {:.0} jobs per second",
        f64::from(done) / started.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn grid_against_local() -> Result<()> {
    let runner = runner(Variant::Plain)?;
    let grid = Grid::start(&[Honest, Honest, Honest], &[])?;
    let (mut jobs, mut locals) = (vec![], vec![]);
    for _ in 0..40 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let ran = grid.run(&Job::new("SELECT 1").of(3, 2)).await?;
        jobs.push(ran.record.timeline.last().context("no end")?.ms);
        locals.push(local(&runner, &Job::new("SELECT 1")).await? * 1e3);
    }
    let (grid, local) = (median(jobs), median(locals));
    println!("SELECT 1 verified, k=3 q=2 on loopback: p50 {grid:.2} ms, {:.1} of the local sandbox", grid / local);
    Ok(())
}

/// Slower than this is no streaming.
const PACE: Pace = Pace { least: 1 << 20, within: std::time::Duration::from_secs(10) };

struct Nowhere;

impl BlobSink for Nowhere {
    async fn write(&mut self, _: u64, _: bytes::Bytes) -> std::io::Result<()> {
        Ok(())
    }
}

async fn streaming() -> Result<()> {
    let mut file = tempfile::tempfile()?;
    let block: Vec<u8> = (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..STREAM >> 20 {
        file.write_all(&block)?;
    }
    std::io::Seek::rewind(&mut file)?;
    let outboard = file_outboard(&mut file, STREAM as u64)?;
    let file = Arc::new(file);
    let source = Source { bytes: file.clone(), outboard: Arc::new(outboard), checked: false };
    let server = Endpoint::bind("127.0.0.1:0".parse()?, &Identity::from_seed([1; 32]))?;
    let client = Endpoint::bind("127.0.0.1:0".parse()?, &Identity::from_seed([2; 32]))?;
    let address = server.local_addr()?;
    let (root, sending) = (source.outboard.root(), source.clone());
    let secret = secret()?;
    let opens = secret.clone();
    tokio::spawn(async move {
        let connection = Endpoint::finish(server.accept().await?).await.ok()?;
        while let Ok(mut stream) = connection.accept().await {
            let mut frame = stream.receiver.expect_of(&[Kind::Fetch, Kind::Sealed]).await.ok()?;
            if frame.kind == Kind::Sealed {
                stream.asked(&opens, Lane::Fetch, &frame.sealed().ok()?).ok()?;
                frame = stream.receiver.expect_of(&[Kind::Fetch]).await.ok()?;
            }
            let source = sending.clone();
            if frame.payload == b"plain" {
                let mut at = 0u64;
                while at < STREAM as u64 {
                    let mut piece = vec![0; 256 << 10];
                    std::os::unix::fs::FileExt::read_exact_at(&*file, &mut piece, at).ok()?;
                    at += piece.len() as u64;
                    stream.sender.bytes(piece.into()).await.ok()?;
                }
            } else {
                eider_net::send(&mut stream.sender, &source, 0, STREAM as u64, PACE).await.ok()?;
            }
            stream.sender.finish().await;
        }
        Some(())
    });
    let connection = client.connect(address, None).await?;
    let (mut plain, mut verified, mut sealed) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let mut stream = connection.open().await?;
        let started = Instant::now();
        stream.sender.frame(Kind::Fetch, b"plain").await?;
        let mut bytes = 0;
        while let Some(piece) = stream.receiver.bytes().await? {
            bytes += piece.len();
        }
        assert_eq!(bytes, STREAM);
        plain = plain.min(started.elapsed().as_secs_f64());
        for (best, seals) in [(&mut verified, false), (&mut sealed, true)] {
            let mut stream = connection.open().await?;
            let started = Instant::now();
            if seals {
                stream.ask(&secret, Lane::Fetch)?;
            }
            stream.sender.frame(Kind::Fetch, b"verified").await?;
            let whole = (0, STREAM as u64);
            eider_net::receive(&mut stream.receiver, root, STREAM as u64, whole, &mut Nowhere, PACE).await?;
            *best = best.min(started.elapsed().as_secs_f64());
        }
    }
    let speed = |seconds: f64| STREAM as f64 / 1e6 / seconds;
    let (v, s, p) = (speed(verified), speed(sealed), speed(plain));
    println!("verified streaming, sealed: {s:.0} MB/s, plain QUIC {p:.0} MB/s: {:.2} (goal 0.7)", s / p);
    println!("  without the seal {v:.0} MB/s: it costs {:.0} %", 100.0 * (1.0 - s / v));
    Ok(())
}

/// What both ends of a Dispatch seal with.
fn secret() -> Result<JobSecret> {
    let task = Task { sql: String::new(), inputs: vec![], time_us: 0, seed: [0; 32], salt: [0; 32] };
    let key = SealingKey::generate().map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(task.seal(OfferId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]), key.public(), None)?.1)
}

async fn engine_against_native() -> Result<()> {
    let data = target_dir().join("demo").join("tpch-sf1");
    println!("TPC-H at scale factor 1, one thread, best of {ROUNDS} taken in turns (generating data the first time)");
    tpch::generate(&data, 1.0)?;
    let Some(mut native) = Native::start(&data)? else {
        println!("SKIPPED: no native DuckDB to compare with (see make test)");
        return Ok(());
    };
    let runners = [(Variant::Plain, runner(Variant::Plain)?), (Variant::Metered, runner(Variant::Metered)?)];
    let mut logs = [0.0; 2];
    for n in 1..=tpch::QUERIES {
        let (mut best, mut reference) = ([f64::MAX; 2], f64::MAX);
        for _ in 0..ROUNDS {
            reference = reference.min(native.time(n)?);
            for ((variant, runner), best) in runners.iter().zip(&mut best) {
                let mut job = Job { variant: *variant, ..Job::new(&tpch::query(n)?) };
                job.inputs = tpch::inputs(&data);
                *best = best.min(local(runner, &job).await?);
            }
        }
        let ratios = best.map(|b| b / reference);
        println!("  q{n:<2} native {:6.0} ms, plain {:.2}, metered {:.2}", reference * 1e3, ratios[0], ratios[1]);
        for (log, ratio) in logs.iter_mut().zip(ratios) {
            *log += ratio.ln() / tpch::QUERIES as f64;
        }
    }
    let [plain, metered] = logs.map(f64::exp);
    println!(
        "engine against native DuckDB, geometric mean: plain {plain:.2} (goal 1.65), metered {metered:.2} (goal 2.2)"
    );
    Ok(())
}

/// The official wheel in a process of its own, which runs a query when asked.
struct Native {
    process: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Native {
    /// None where the wheel could not be had.
    fn start(data: &Path) -> Result<Option<Self>> {
        let pydeps: PathBuf = target_dir().parent().context("target")?.join("pydeps");
        if !pydeps.join(".done").exists() {
            return Ok(None);
        }
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new("python3")
            .arg(tests.join("native.py"))
            .args(["time".as_ref(), data.as_os_str(), tests.join("tpch").as_os_str()])
            .env("PYTHONPATH", &pydeps)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let asks = process.stdin.take().context("stdin")?;
        let answers = BufReader::new(process.stdout.take().context("stdout")?).lines();
        Ok(Some(Self { process, asks, answers }))
    }

    /// Seconds of query `n`.
    fn time(&mut self, n: usize) -> Result<f64> {
        writeln!(self.asks, "{n}")?;
        let answer = self.answers.next().context("native.py ended: its message is above")??;
        Ok(answer.parse()?)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
