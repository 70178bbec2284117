//! A thousand SIGKILLs of cells and of workers under load: nothing is left of what they took down, the donation is never
//! exceeded meanwhile, and jobs run after it as before.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eider_tests::{Behaviour::Honest, Grid, Job};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

const KILLS: usize = 1000;
const ROUNDS: usize = 25;
const WORKERS: usize = 3;
/// Donation of each worker, bytes and on its command line.
const MEMORY: u64 = 1 << 30;
/// Processes of a worker at rest: two cells ready and one about to be, an outer and an inner process each.
const AT_REST: usize = 6;
const DONATION: [&str; 4] = ["--memory", "1GiB", "--jobs", "2"];

/// Parents and anonymous resident bytes of all processes.
fn processes() -> BTreeMap<u32, (u32, u64)> {
    let read = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        (!status.contains("State:\tZ")).then_some(())?;
        Some((pid, (u32::try_from(field("PPid:")?).ok()?, field("RssAnon:").unwrap_or(0) * 1024)))
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| read(e.file_name().to_str()?.parse().ok()?)).collect()
}

fn descendants(of: u32) -> BTreeMap<u32, u64> {
    let all = processes();
    let mut found = BTreeMap::new();
    let mut front = vec![of];
    while let Some(parent) = front.pop() {
        for (pid, (_, bytes)) in all.iter().filter(|(_, (p, _))| *p == parent) {
            found.insert(*pid, *bytes);
            front.push(*pid);
        }
    }
    found
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Waits for something that must come.
async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "its comparison at the end is not settled: what a worker holds at rest is not known well enough"]
async fn a_thousand_kills_leave_nothing_behind() {
    let mut grid = Grid::start(&[Honest; WORKERS], &DONATION).unwrap();
    let input = grid.temp().with_extension("csv");
    fs::write(&input, "a\n".to_string() + &"1\n".repeat(50_000)).unwrap();
    let job = Job { memory: 256 << 20, ..Job::new("SELECT sum(a) FROM t, range(200)").of(1, 1).input("t", &input) };
    assert_eq!(grid.run(&job).await.unwrap().csv().unwrap(), "10000000\n");
    for i in 0..WORKERS {
        let pid = grid.pid(i);
        eventually("a worker does not come to rest", || descendants(pid).len() == AT_REST).await;
    }
    let quiet: Vec<usize> = (0..WORKERS).map(|i| descriptors(grid.pid(i))).collect();
    let mut random = StdRng::seed_from_u64(7);
    let (killed, verified) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 1..=ROUNDS {
        let victim = random.random_range(0..WORKERS);
        let murder = async {
            let until = KILLS * round / ROUNDS - 1;
            while killed.load(Ordering::Relaxed) < until {
                let worker = random.random_range(0..WORKERS);
                let alive = descendants(grid.pid(worker));
                let held: u64 = alive.values().sum();
                assert!(held <= MEMORY, "{held} bytes in cells of a worker that donates {MEMORY}");
                if !alive.is_empty() {
                    let pid = *alive.keys().nth(random.random_range(0..alive.len())).unwrap();
                    let hit = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).is_ok();
                    killed.fetch_add(usize::from(hit), Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
            }
            // The round's last is a worker, with whatever it runs.
            let orphans = descendants(grid.pid(victim));
            kill_process(Pid::from_raw(grid.pid(victim).cast_signed()).unwrap(), Signal::KILL).unwrap();
            killed.fetch_add(1, Ordering::Relaxed);
            eventually("a cell outlived its worker", || {
                let alive = processes();
                orphans.keys().all(|pid| !alive.contains_key(pid))
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
    }
    assert!(killed.load(Ordering::Relaxed) >= KILLS);
    assert!(verified.load(Ordering::Relaxed) > 0, "no job got through");
    // No lease is left: a job that takes all that is donated fits everywhere. No cell either, nor a descriptor.
    let whole = Job { memory: MEMORY - (64 << 20), ..job.clone().of(WORKERS, WORKERS) };
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let ran = grid.run(&whole).await.unwrap();
        if ran.record.end == "verified" {
            break assert_eq!(ran.csv().unwrap(), "10000000\n");
        }
        assert!(Instant::now() < patience, "{}: {}", ran.record.end, ran.record.reason);
    }
    for i in 0..WORKERS {
        let pid = grid.pid(i);
        eventually("cells are left over", || descendants(pid).len() <= AT_REST).await;
        eventually("descriptors are left over", || descriptors(pid) <= quiet[i] + 2).await;
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
        if ran.record.end == "verified" {
            assert_eq!(ran.csv().unwrap(), "10000000\n");
            verified.fetch_add(1, Ordering::Relaxed);
        }
    }
}
