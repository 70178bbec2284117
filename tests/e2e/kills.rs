//! A thousand SIGKILLs of cells and of workers under load: nothing is left of what they took down, the donation is never
//! exceeded meanwhile, and jobs run after it as before.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eider_sandbox::{CellCommand, Wall, probe_walls};
use eider_tests::process::{descendants, descriptors, eventually, is_alive, memory};
use eider_tests::{Behaviour::Honest, Grid, Job, eider};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

const KILLS: usize = 1000;
const ROUNDS: usize = 25;
const WORKERS: usize = 3;
/// Donation of each worker, bytes and on its command line.
const MEMORY: u64 = 1 << 30;
/// A ready cell for each job that may run.
const CELLS: usize = 2;
const DONATION: [&str; 4] = ["--memory", "1GiB", "--jobs", "2"];

/// Waits until a worker has its cells ready and no others.
async fn at_rest(pid: u32, processes: usize) {
    eventually(|| {
        let cells = descendants(pid);
        if cells.len() == processes { Ok(()) } else { Err(format!("cells of a worker at rest: {cells:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_kills_leave_nothing_behind() {
    let mut grid = Grid::start(&[Honest; WORKERS], &DONATION).unwrap();
    let input = grid.temp().with_extension("csv");
    fs::write(&input, "a\n".to_string() + &"1\n".repeat(50_000)).unwrap();
    let job = Job { memory: 256 << 20, ..Job::new("SELECT sum(a) FROM t, range(200)").of(1, 1).input("t", &input) };
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
    let mut random = StdRng::seed_from_u64(7);
    let (killed, verified) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 1..=ROUNDS {
        let victim = random.random_range(0..WORKERS);
        let murder = async {
            let until = KILLS * round / ROUNDS - 1;
            while killed.load(Ordering::Relaxed) < until {
                let worker = random.random_range(0..WORKERS);
                let alive = descendants(grid.pid(worker));
                let held: u64 = alive.iter().map(|pid| memory(*pid, "RssAnon")).sum();
                assert!(held <= MEMORY, "{held} bytes in cells of a worker that donates {MEMORY}");
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
        // How many got through meanwhile depends on the machine; now each does.
        let ran = grid.run(&job).await.unwrap();
        assert_eq!(ran.record.end.word(), "verified", "round {round}: {}", ran.record.reason);
        assert_eq!(ran.csv().unwrap(), "10000000\n");
    }
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
