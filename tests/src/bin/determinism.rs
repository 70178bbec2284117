//! `make determinism`: the same jobs on images for other processors end the same, to the byte and to the unit of fuel.
//!
//! An image for x86-64-v2 is what workers run. The same engine is compiled for the later levels of that architecture, with
//! instructions that the first has not, and for 64-bit ARM, and each job's whole outcome is compared: root, length, rows, fuel,
//! reads, memory; of one that fails its kind and message too. `EIDER_EMULATED` is the folder with the emulators and the cells for
//! them that `tests/determinism/emulated.py` has made; without it what this processor cannot run is not compared. Words on the command
//! line choose processors whose name has one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use eider_node::{CellRunner, Discard, EngineBinary, RunError, Uncounted, run_local};
use eider_protocol::Outcome;
use eider_sandbox::{Baseline, CellCommand, CellError, ImageCache, Pool, Variant};
use eider_tests::hostile_sql::{Ends, statements};
use eider_tests::{Job, eider, engine_cache, programs, target_dir, tpch, work_of};

/// Everybody's time, so that two runs of this program can be compared too.
const TIME_US: i64 = 1_700_000_000_000_000;

/// How often it says how far it is: an emulator takes its time.
const EVERY: Duration = Duration::from_secs(60);

/// What is compared, by name.
type Jobs = BTreeMap<String, Job>;
/// How each ended: its outcome, or what the machine lacked.
type Ended = BTreeMap<String, Result<Outcome, String>>;

/// A processor, or an emulator of one.
struct Machine {
    name: String,
    baseline: Baseline,
    /// What its cells run in: none, where nothing here can run them.
    cells: Result<CellCommand, &'static str>,
    /// What compiles for it.
    compiler: CellCommand,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let jobs = jobs(dir.path())?;
    println!("determinism: {} jobs on a metered image for each processor", jobs.len());
    let mut first: Option<(String, Ended)> = None;
    let mut differ = vec![];
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut machines = machines(std::env::var_os("EIDER_EMULATED").map(PathBuf::from));
    machines.retain(|m| m.baseline == Baseline::HERE || words.is_empty() || words.iter().any(|w| m.name.contains(w)));
    for Machine { name, baseline, cells, compiler } in machines {
        let ended = match cells {
            Ok(cells) => run(&name, baseline, cells, compiler, &jobs).await?,
            Err(why) => {
                println!("{name}: NOT compared: {why}");
                continue;
            }
        };
        let Some((here, first)) = &first else {
            let meant = ended.iter().filter(|(name, _)| !name.starts_with("hostile "));
            if let Some((name, ended)) = meant.clone().find(|(_, e)| !matches!(e, Ok(Outcome::Completed { .. }))) {
                bail!("{name} is meant to have a result: {ended:?}");
            }
            let done = count(&ended, |o| matches!(o, Outcome::Completed { .. }));
            let without = ended.values().filter(|e| e.is_err()).count();
            println!("{name}: {done} completed, {} failed, {without} without an outcome", ended.len() - done - without);
            first = Some((name, ended));
            continue;
        };
        let (equal, other): (Vec<_>, Vec<_>) = first.keys().partition(|job| first[*job] == ended[*job]);
        // A machine that lacks something says nothing; it is another word that would be wrong.
        let (silent, unlike): (Vec<_>, Vec<_>) = other.into_iter().partition(|job| ended[*job].is_err());
        println!(
            "{name}: {} of {} equal to {here}'s, {} without an outcome there",
            equal.len(),
            first.len(),
            silent.len()
        );
        silent.iter().for_each(|job| println!("  {job}: {:?}", ended[*job]));
        differ.extend(
            unlike.into_iter().map(|job| format!("{job}\n  {here}: {:?}\n  {name}: {:?}", first[job], ended[job])),
        );
    }
    if !differ.is_empty() {
        bail!("{} outcomes differ:\n{}", differ.len(), differ.join("\n"));
    }
    Ok(())
}

/// What is compared, that which workers run first.
fn machines(emulated: Option<PathBuf>) -> Vec<Machine> {
    let native = |baseline: Baseline| {
        let command = CellCommand { baseline, ..CellCommand::new(eider()) };
        let runs = programs::runs_here(baseline);
        let cells = if runs { Ok(command.clone()) } else { Err("this processor lacks some of its instructions") };
        Machine { name: baseline.to_string(), baseline, cells, compiler: command }
    };
    let emulator = |name: &str, baseline: Baseline, program: &str| {
        let command = |program: PathBuf| CellCommand { baseline, ..CellCommand::new(program) };
        let cells = emulated.as_ref().map(|folder| command(folder.join(program)));
        Machine {
            name: name.into(),
            baseline,
            cells: cells.ok_or("EIDER_EMULATED names no folder with an emulator"),
            // Workers' compilers know the instructions of their own architecture.
            compiler: command(target_dir().join("eider-bare-cell")),
        }
    };
    let v3 = match native(Baseline::X86_64V3) {
        lacking if lacking.cells.is_err() => emulator("x86-64-v3, emulated", Baseline::X86_64V3, "x86-64-cell"),
        native => native,
    };
    // The emulator has no AVX-512.
    let v4 = native(Baseline::X86_64V4);
    vec![native(Baseline::HERE), v3, v4, emulator("aarch64, emulated", Baseline::Aarch64, "aarch64-cell")]
}

fn count(ended: &Ended, is: impl Fn(&Outcome) -> bool) -> usize {
    ended.values().filter(|e| e.as_ref().is_ok_and(&is)).count()
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

async fn run(name: &str, baseline: Baseline, cells: CellCommand, compiler: CellCommand, jobs: &Jobs) -> Result<Ended> {
    let engine = EngineBinary::built_in()?;
    let cache = ImageCache::open(engine_cache().join("engines"), compiler)?;
    let image = cache.image(
        engine.hash.into(),
        Variant::Metered,
        || engine.bytes(),
        |_| println!("{baseline}: compiling {} for it: once, about a minute and a half on two cores", engine.name),
    )?;
    let runner = CellRunner::new([Pool::start(cells, image, 2)], std::env::temp_dir(), Arc::new(Uncounted));
    let (mut ended, mut said) = (Ended::new(), Instant::now());
    for (job_name, job) in jobs {
        if said.elapsed() > EVERY {
            println!("{name}: {} of {} jobs", ended.len(), jobs.len());
            said = Instant::now();
        }
        ended.insert(job_name.clone(), one(&runner, job).await.with_context(|| format!("{name}: {job_name}"))?);
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
