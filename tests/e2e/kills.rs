//! A thousand SIGKILLs of cells and of workers under load: nothing is left of what they took down, the donation is never
//! exceeded meanwhile, also not by jobs that want all that they may have and more, and jobs run after it as before.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eider_node::MemorySink;
use eider_sandbox::{CellCommand, Wall, probe_walls};
use eider_tests::process::{descendants, descriptors, eventually, is_alive, memory};
use eider_tests::{Behaviour::Honest, Grid, Job, eider};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

const KILLS: usize = 1000;
const ROUNDS: usize = 25;
const WORKERS: usize = 3;
/// Donation of each worker, bytes and on its command line. Of its eight jobs, memory allows three and disk two.
const MEMORY: u64 = 1 << 30;
const DISK: u64 = 48 << 20;
const DONATION: [&str; 8] = ["--memory", "1GiB", "--jobs", "8", "--per-requester", "8", "--disk", "48MiB"];
/// As many are ready, whatever the number of jobs.
const CELLS: usize = 4;
/// What a job of this test may have, bytes.
const JOB_MEMORY: u64 = 192 << 20;
const JOB_RESULT: u64 = 16 << 20;
/// A cell's memory beside what its job may have, bytes.
const CELL: u64 = 64 << 20;
/// Every so many rounds, with nothing killed, more jobs than fit want more than they may have.
const FLOOD_EVERY: usize = 5;
/// Jobs of such a flood. A network has three quarters of a worker's places.
const FLOOD: usize = 6;

/// Waits until a worker has its cells ready and no others.
async fn at_rest(pid: u32, processes: usize) {
    eventually(|| {
        let cells = descendants(pid);
        if cells.len() == processes { Ok(()) } else { Err(format!("cells of a worker at rest: {cells:?}")) }
    })
    .await;
}

/// What the kernel says that workers hold, looked at all the time.
struct Watch {
    workers: [AtomicU32; WORKERS],
    homes: Vec<PathBuf>,
    done: AtomicBool,
}

/// The most that was held at a time, bytes.
#[derive(Default, Debug)]
struct Most {
    /// By one cell, and by all of a worker.
    cell: u64,
    cells: u64,
    /// By one result, and by all and the cached inputs of a worker.
    result: u64,
    disk: u64,
}

impl Watch {
    fn look(&self) -> Most {
        let mut most = Most::default();
        while !self.done.load(Ordering::Relaxed) {
            for (pid, home) in self.workers.iter().zip(&self.homes) {
                let pid = pid.load(Ordering::Relaxed);
                let cells: Vec<u64> = descendants(pid).into_iter().map(|cell| memory(cell, "RssAnon")).collect();
                let (results, inputs) = stored(pid, home);
                most.cell = most.cell.max(cells.iter().copied().max().unwrap_or(0));
                most.cells = most.cells.max(cells.iter().sum());
                most.result = most.result.max(results.iter().copied().max().unwrap_or(0));
                most.disk = most.disk.max(results.iter().sum::<u64>() + inputs);
            }
            thread::sleep(Duration::from_millis(2));
        }
        most
    }
}

impl Most {
    fn check(&self) {
        println!("at most {self:?}");
        assert!(
            self.cells <= MEMORY,
            "more memory in the cells of a worker than the {MEMORY} that it donates: {self:?}"
        );
        assert!(self.cell <= JOB_MEMORY + CELL, "more memory in a cell than its job may have: {self:?}");
        assert!(self.disk <= DISK, "more on a worker's disk than it donates: {self:?}");
        assert!(self.result <= JOB_RESULT, "a larger result than its job may have: {self:?}");
        // Limits that nothing comes near are not tried.
        assert!(self.cell > JOB_MEMORY / 2 && self.cells > MEMORY / 3, "no job wanted much memory: {self:?}");
        assert!(self.result > JOB_RESULT / 2 && self.disk > JOB_RESULT, "no job had a large result: {self:?}");
    }
}

/// Bytes in each file without a name in a worker's home, and in those of its inputs.
fn stored(pid: u32, home: &Path) -> (Vec<u64>, u64) {
    let mut unnamed = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let is_ours = fs::read_link(entry.path())
            .is_ok_and(|to| to.starts_with(home) && to.as_os_str().as_encoded_bytes().ends_with(b" (deleted)"));
        if let Some(file) = fs::metadata(entry.path()).ok().filter(|_| is_ours) {
            unnamed.insert(file.ino(), file.len());
        }
    }
    let inputs = fs::read_dir(home.join("inputs")).into_iter().flatten().flatten();
    (unnamed.into_values().collect(), inputs.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum())
}

/// More jobs at once on a worker than it has memory or disk for, each of which wants more than it may have, or has as much
/// of a result as it may. They end as a job may, and the worker is well.
async fn flood(grid: &Grid, worker: usize) {
    // Of those that want disk there is memory for five.
    let few = JOB_MEMORY * 7 / 12;
    for (memory, sql, ends) in [
        (JOB_MEMORY, "SELECT count(*) FROM (SELECT DISTINCT i FROM range(100000000) t(i))", "job-failed"),
        (few, "SELECT repeat('x', 1000) || i FROM range(40000) t(i)", "job-failed"),
        (few, "SELECT repeat('x', 1000) || i FROM range(14000) t(i)", "verified"),
    ] {
        let job = Job { sql: sql.into(), memory, result: JOB_RESULT, ..Job::new("").of(1, 1) };
        let one = || async {
            let candidates = vec![grid.candidates()[worker].clone()];
            let record = grid.run_into(&job, candidates, Box::new(MemorySink::default())).await.unwrap();
            record.end.word().to_string()
        };
        let ended: [String; FLOOD] = tokio::join!(one(), one(), one(), one(), one(), one()).into();
        assert!(ended.iter().any(|end| end == ends), "{sql}: {ended:?}, none {ends}");
        // Whom there was no room for was declined, or waited for it.
        let known = [ends, "no-candidates", "no-quorum", "exceeds-capacity"];
        assert!(ended.iter().all(|end| known.contains(&end.as_str())), "{sql}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_kills_leave_nothing_behind() {
    let mut grid = Grid::start(&[Honest; WORKERS], &DONATION).unwrap();
    let input = grid.temp().with_extension("csv");
    fs::write(&input, "a\n".to_string() + &"1\n".repeat(50_000)).unwrap();
    let sql = "SELECT sum(a) FROM t, range(200)";
    let job = Job { memory: JOB_MEMORY, result: JOB_RESULT, ..Job::new(sql).of(1, 1).input("t", &input) };
    // On all of them, so that each has the input in its cache.
    let everywhere = job.clone().of(WORKERS, WORKERS);
    assert_eq!(grid.run(&everywhere).await.unwrap().csv().unwrap(), "10000000\n");
    // With namespaces, a cell is a process in another.
    let walls = probe_walls(&CellCommand::new(eider())).await.unwrap();
    let processes = if walls.up.contains_key(&Wall::Namespaces) { 2 * CELLS } else { CELLS };
    let mut quiet = vec![];
    for pid in (0..WORKERS).map(|i| grid.pid(i)) {
        at_rest(pid, processes).await;
        quiet.push(descriptors(pid).len());
    }
    let watch = Arc::new(Watch {
        workers: std::array::from_fn(|i| AtomicU32::new(grid.pid(i))),
        homes: (0..WORKERS).map(|i| grid.home(i)).collect(),
        done: AtomicBool::new(false),
    });
    let looking = thread::spawn({
        let watch = watch.clone();
        move || watch.look()
    });
    let mut random = StdRng::seed_from_u64(7);
    let (killed, verified) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 1..=ROUNDS {
        let victim = random.random_range(0..WORKERS);
        let murder = async {
            let until = KILLS * round / ROUNDS - 1;
            while killed.load(Ordering::Relaxed) < until {
                let worker = random.random_range(0..WORKERS);
                let alive = descendants(grid.pid(worker));
                if !alive.is_empty() {
                    let pid = alive[random.random_range(0..alive.len())];
                    let hit = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).is_ok();
                    killed.fetch_add(usize::from(hit), Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
            }
            // The round's last is a worker, with whatever it runs.
            let orphans = descendants(grid.pid(victim));
            kill_process(Pid::from_raw(grid.pid(victim).cast_signed()).unwrap(), Signal::KILL).unwrap();
            killed.fetch_add(1, Ordering::Relaxed);
            eventually(|| {
                let left: Vec<_> = orphans.iter().filter(|pid| is_alive(**pid)).collect();
                if left.is_empty() { Ok(()) } else { Err(format!("cells outlived their worker: {left:?}")) }
            })
            .await;
        };
        // Jobs that are under way when the round ends are dropped, as by a requester that goes away.
        tokio::select! {
            () = load(&grid, &job, &verified) => {}
            () = load(&grid, &job, &verified) => {}
            () = murder => {}
        }
        grid.restart(victim, &DONATION).unwrap();
        watch.workers[victim].store(grid.pid(victim), Ordering::Relaxed);
        // How many got through meanwhile depends on the machine; now each does.
        let ran = grid.run(&job).await.unwrap();
        assert_eq!(ran.record.end.word(), "verified", "round {round}: {}", ran.record.reason);
        assert_eq!(ran.csv().unwrap(), "10000000\n");
        if round % FLOOD_EVERY == 0 {
            flood(&grid, round / FLOOD_EVERY % WORKERS).await;
        }
    }
    watch.done.store(true, Ordering::Relaxed);
    looking.join().unwrap().check();
    assert!(killed.load(Ordering::Relaxed) >= KILLS);
    println!("{} jobs got through between kills", verified.load(Ordering::Relaxed));
    // No lease is left: a job that takes all that is donated fits everywhere. No cell either, nor a descriptor.
    // Beside it, a cell of its own and those that wait.
    let whole = Job { memory: MEMORY - (64 << 20) - CELLS as u64 * (24 << 20), ..everywhere };
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let ran = grid.run(&whole).await.unwrap();
        if ran.record.end.word() == "verified" {
            break assert_eq!(ran.csv().unwrap(), "10000000\n");
        }
        assert!(Instant::now() < patience, "{}: {}", ran.record.end, ran.record.reason);
    }
    for (i, quiet) in quiet.into_iter().enumerate() {
        let pid = grid.pid(i);
        at_rest(pid, processes).await;
        eventually(|| {
            let open = descriptors(pid);
            if open.len() <= quiet { Ok(()) } else { Err(format!("{quiet} descriptors before, after: {open:?}")) }
        })
        .await;
        let names = fs::read_dir(grid.home(i).join("inputs")).unwrap().flatten();
        let names: Vec<_> = names.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        assert!(names.len() <= 2, "one input is cached, with its index: {names:?}");
    }
    assert_eq!(fs::read_dir(grid.temp()).unwrap().count(), 0, "temporary files are left over");
}

/// Job after job, each of which is right or has no result.
async fn load(grid: &Grid, job: &Job, verified: &AtomicUsize) {
    loop {
        let ran = grid.run(job).await.unwrap();
        if ran.record.end.word() == "verified" {
            assert_eq!(ran.csv().unwrap(), "10000000\n");
            verified.fetch_add(1, Ordering::Relaxed);
        }
    }
}
