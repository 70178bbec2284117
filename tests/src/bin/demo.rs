//! `make demo`: a dozen TPC-H queries on nine worker processes, three of which lie or stall.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, bail};
use eider_node::{Fate, JobRecord, What};
use eider_protocol::{Outcome, ResetCode};
use eider_tests::{Behaviour, Grid, Job, eider, engine_cache, target_dir, tpch};

const QUERIES: [usize; 12] = [1, 3, 4, 5, 6, 9, 10, 12, 13, 14, 18, 21];
const SCALE: f64 = 0.1;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let data = target_dir().join("demo").join("tpch-sf0.1");
    println!("== Engine: DuckDB as WebAssembly, compiled for this machine (once, about a minute) ==");
    let compiled = Command::new(eider()).args(["engine", "compile"]).env("EIDER_CACHE", engine_cache()).status()?;
    if !compiled.success() {
        bail!("the engine could not be compiled");
    }
    println!("== Data: TPC-H at scale factor {SCALE} as Parquet, in {} ==", data.display());
    tpch::generate(&data, SCALE)?;
    println!(
        "== Grid: nine worker processes on loopback, each running queries in WebAssembly sandboxes of their own =="
    );
    use Behaviour::{Honest, Stall, WrongBytes, WrongCommit};
    let behaviours = [WrongCommit, Honest, WrongBytes, Honest, Honest, Stall, Honest, Honest, Honest];
    let grid = Grid::start(&behaviours, &[])?;
    for (candidate, behaviour) in grid.candidates().iter().zip(behaviours) {
        let node = candidate.node.map(|n| n.short()).unwrap_or_default();
        let what = match behaviour {
            Honest => "honest",
            WrongCommit => "lies: commits to a changed result",
            WrongBytes => "lies: commits rightly, delivers other bytes",
            Behaviour::BadDisk => "has a bad disk",
            Stall | Behaviour::Slow => "stalls: says that it works, never commits",
        };
        println!("  {node}  {what}");
    }
    let (started, mut shown) = (Instant::now(), Summary::default());
    for (i, n) in QUERIES.into_iter().enumerate() {
        let (k, quorum) = if i % 2 == 0 { (4, 3) } else { (8, 6) };
        let mut job = Job::new(&tpch::query(n)?).of(k, quorum);
        job.inputs = tpch::inputs(&data);
        let ran = grid.run(&job).await?;
        show(n, &ran.record, &mut shown);
        if ran.record.end.word() != "verified" {
            bail!("query {n} ended as {}: {}", ran.record.end, ran.record.reason);
        }
    }
    println!("\n== {} queries verified in {:.1} s ==", QUERIES.len(), started.elapsed().as_secs_f64());
    println!("  wrong commits outvoted         {}", shown.dissent);
    println!("  false bytes caught, re-sent    {}", shown.wrong_bytes);
    println!("  stalled or slower, left behind {}", shown.left_behind);
    println!(
        "  false answers accepted         0: each answer's every byte was checked against the hash that a quorum signed"
    );
    println!("\nLoopback on one machine: a demonstration of the protocol, not of separate hardware.");
    let table = relative(data.join("lineitem.parquet"));
    println!("\nNext, with a file of your own:\n  target/release/eider up &");
    println!(
        "  target/release/eider query --input lineitem={} 'SELECT l_shipmode, count(*) FROM lineitem GROUP BY ALL'",
        table.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn relative(path: PathBuf) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map(PathBuf::from).unwrap_or(path)
}

#[derive(Default)]
struct Summary {
    dissent: usize,
    wrong_bytes: usize,
    left_behind: usize,
}

fn show(n: usize, record: &JobRecord, summary: &mut Summary) {
    let Some(Outcome::Completed { rows, length, metering, root }) = &record.outcome else { return };
    println!("\nTPC-H {n}: {rows} rows, {length} bytes, root {}  (k={} q={})", root.short(), record.k, record.quorum);
    let at = |what: fn(&What) -> bool| record.first(what).map_or_else(|| "-".into(), |ms| format!("{ms:.0}"));
    let dispatch = at(|w| matches!(w, What::Dispatch { .. }));
    println!(
        "  ms: offer {}, first bid {}, dispatch {dispatch}, first commit {}, quorum {}, first verified byte {}, done {}",
        at(|w| *w == What::Offer),
        at(|w| *w == What::Bid),
        at(|w| *w == What::Commit),
        at(|w| *w == What::Quorum),
        at(|w| *w == What::FirstByte),
        at(|w| *w == What::Done),
    );
    println!(
        "  metering: {} bytes in {} reads, {} MiB of memory",
        metering.bytes_read,
        metering.reads,
        metering.memory >> 20
    );
    let names: Vec<_> = record.agreed.iter().map(|a| a.short()).collect();
    println!("  agreed: {}", names.join(" "));
    for peer in &record.peers {
        let node = peer.node.map(|n| n.short()).unwrap_or_default();
        let (Fate::Caught { code, .. } | Fate::Reset { code }) = &peer.fate else { continue };
        if peer.at_fault {
            println!("  CAUGHT {node}: {}", peer.fate);
        } else if code.0 != ResetCode::NotChosen {
            println!("  {node}: {}", peer.fate);
        }
        summary.dissent += usize::from(code.0 == ResetCode::Dissent);
        summary.wrong_bytes += usize::from(code.0 == ResetCode::WrongBytes);
        summary.left_behind += usize::from(matches!(code.0, ResetCode::QuorumReached | ResetCode::Stalled));
    }
}
