//! `make determinism`: the same jobs on images for other processors end the same, to the byte and to the unit of fuel.
//!
//! An image for x86-64-v2 is what workers run. The same engine is compiled for the later levels of that architecture, with
//! instructions that the first has not, and each job's whole outcome is compared: root, length, rows, fuel, reads, memory; of
//! one that fails its kind and message too. `EIDER_AARCH64_CELL` names a program that runs cells of 64-bit ARM, if there is one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use eider_node::{CellRunner, Discard, EngineBinary, RunError, Uncounted, run_local};
use eider_protocol::Outcome;
use eider_sandbox::{Baseline, CellCommand, CellError, ImageCache, Pool, Variant};
use eider_tests::hostile_sql::{Ends, statements};
use eider_tests::{Job, eider, engine_cache, programs, target_dir, tpch, work_of};

/// Everybody's time, so that two runs of this program can be compared too.
const TIME_US: i64 = 1_700_000_000_000_000;

/// What is compared, by name.
type Jobs = BTreeMap<String, Job>;
/// How each ended: its outcome, or what the machine lacked.
type Ended = BTreeMap<String, Result<Outcome, String>>;

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let jobs = jobs(dir.path())?;
    println!("determinism: {} jobs on a metered image for each processor", jobs.len());
    let here = Baseline::HERE;
    let first = run(here, &jobs).await?;
    let (done, failed) = (count(&first, |o| matches!(o, Outcome::Completed { .. })), first.len());
    let meant = first.iter().filter(|(name, _)| !name.starts_with("hostile "));
    if let Some((name, ended)) = meant.clone().find(|(_, e)| !matches!(e, Ok(Outcome::Completed { .. }))) {
        bail!("{name} is meant to have a result: {ended:?}");
    }
    let without = first.values().filter(|e| e.is_err()).count();
    println!("{here}: {done} completed, {} failed, {without} without an outcome", failed - done - without);
    let mut differ = vec![];
    for other in Baseline::ALL.into_iter().filter(|b| *b != here) {
        if let Some(why) = lacks(other) {
            println!("{other}: NOT compared: {why}");
            continue;
        }
        let ended = run(other, &jobs).await?;
        let unlike: Vec<_> = first.keys().filter(|name| first[*name] != ended[*name]).collect();
        println!("{other}: {} of {} equal to {here}'s", first.len() - unlike.len(), first.len());
        differ.extend(unlike.into_iter().map(|n| format!("{n}\n  {here}: {:?}\n  {other}: {:?}", first[n], ended[n])));
    }
    if !differ.is_empty() {
        bail!("{} outcomes differ:\n{}", differ.len(), differ.join("\n"));
    }
    Ok(())
}

fn count(ended: &Ended, is: impl Fn(&Outcome) -> bool) -> usize {
    ended.values().filter(|e| e.as_ref().is_ok_and(&is)).count()
}

/// Why this machine cannot run a level's code.
fn lacks(baseline: Baseline) -> Option<String> {
    match baseline {
        Baseline::Aarch64 => arm_cell().is_none().then(|| "EIDER_AARCH64_CELL names no program for its cells".into()),
        level => (!programs::runs_here(level)).then(|| "this processor lacks some of its instructions".into()),
    }
}

fn arm_cell() -> Option<PathBuf> {
    std::env::var_os("EIDER_AARCH64_CELL").map(PathBuf::from)
}

/// TPC-H, floating point, and all hostile statements that end by themselves.
fn jobs(dir: &Path) -> Result<Jobs> {
    let mut jobs = Jobs::new();
    let data = target_dir().join("determinism").join("tpch-sf0.01");
    tpch::generate(&data, 0.01)?;
    for n in 1..=tpch::QUERIES {
        jobs.insert(format!("tpch q{n:02}"), Job { inputs: tpch::inputs(&data), ..Job::new(&tpch::query(n)?) });
    }
    let floats = Path::new(env!("CARGO_MANIFEST_DIR")).join("determinism/floats.sql");
    let floats = std::fs::read_to_string(&floats).with_context(|| floats.display().to_string())?;
    for (n, sql) in floats.split(";\n").filter(|sql| !sql.trim().is_empty()).enumerate() {
        jobs.insert(format!("floats {n:02}"), Job::new(sql));
    }
    for (name, statement) in statements().into_iter().filter(|(_, s)| s.ends != Ends::Deadline) {
        let folder = dir.join(&name);
        std::fs::create_dir(&folder)?;
        jobs.insert(format!("hostile {name}"), statement.job(1, &folder));
    }
    Ok(jobs)
}

async fn run(baseline: Baseline, jobs: &Jobs) -> Result<Ended> {
    let engine = EngineBinary::built_in()?;
    let compiler = CellCommand { baseline, ..CellCommand::new(eider()) };
    let cache = ImageCache::open(engine_cache().join("engines"), compiler.clone())?;
    let image = cache.image(
        engine.hash.into(),
        Variant::Metered,
        || engine.bytes(),
        |_| println!("{baseline}: compiling {} for it: once, about a minute and a half on two cores", engine.name),
    )?;
    let cells = match baseline {
        Baseline::Aarch64 => CellCommand { program: arm_cell().unwrap_or_default(), require: vec![], ..compiler },
        _ => compiler,
    };
    let runner = CellRunner::new([Pool::start(cells, image, 2)], std::env::temp_dir(), Arc::new(Uncounted));
    let mut ended = Ended::new();
    for (name, job) in jobs {
        ended.insert(name.clone(), one(&runner, job).await.with_context(|| format!("{baseline}: {name}"))?);
    }
    Ok(ended)
}

async fn one(runner: &CellRunner, job: &Job) -> Result<Result<Outcome, String>> {
    let (mut work, inputs) = work_of(job)?;
    (work.task.time_us, work.task.seed, work.variant) = (TIME_US, [7; 32], Variant::Metered);
    match run_local(runner, work, &inputs, &mut Discard).await {
        Ok(report) => Ok(Ok(report.outcome)),
        Err(RunError::Cell(CellError::Lacks(lack, _))) => Ok(Err(format!("lacks {lack:?}"))),
        Err(e) => Err(e.into()),
    }
}
