//! Cells that are ready before there is a job: whatever happens to them while they wait, as many are ready afterwards.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use eider_sandbox::{CellCommand, CellError, Pool};
use eider_tests::programs::run_good;
use eider_tests::{eider, process, programs};
use rustix::process::{Pid, Signal, kill_process};

const AHEAD: usize = 3;
/// A link to the program that cells are of.
const PROGRAM: &str = "eider";

/// A pool of a program's cells, and the folder in which the program can be taken away and put back.
fn pool() -> (Pool, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let image = programs::image(&dir.path().join("engines"), &CellCommand::new(eider()), &programs::text("good"));
    symlink(eider(), program(&dir)).unwrap();
    (Pool::start(CellCommand::new(program(&dir)), image, AHEAD), dir)
}

fn program(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(PROGRAM)
}

/// The cells that this test's thread has: each is a process, with another in it where there are PID namespaces.
fn cells() -> Vec<u32> {
    process::children_of_thread()
}

/// Waits until so many cells are ready, and says which.
async fn ready(count: usize) -> Vec<u32> {
    process::eventually(|| {
        let (ready, all) = (cells().into_iter().filter(|pid| is_ready(*pid)).collect::<Vec<_>>(), cells().len());
        let wrong = || format!("{} ready of {all} cells, not {count}", ready.len());
        if ready.len() == count && all == count { Ok(ready) } else { Err(wrong()) }
    })
    .await
}

/// Whether some process of the cell has the thread that runs engines, asleep.
fn is_ready(cell: u32) -> bool {
    let waits = |thread: PathBuf| {
        let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
        stat.contains("(engine) S")
    };
    process::descendants(cell).into_iter().chain([cell]).any(|pid| process::threads(pid).any(waits))
}

fn kill(cell: u32) {
    let all = process::descendants(cell);
    for pid in all.into_iter().chain([cell]) {
        // The outer process may have gone after the inner one.
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
}

#[tokio::test]
async fn cells_that_die_while_they_wait_are_replaced_without_a_job() {
    let (pool, _dir) = pool();
    for dies in 1..=AHEAD {
        let before = ready(AHEAD).await;
        before[..dies].iter().for_each(|cell| kill(*cell));
        process::eventually(|| match before[..dies].iter().find(|cell| process::is_alive(**cell)) {
            Some(alive) => Err(format!("{alive} was killed and lives")),
            None => Ok(()),
        })
        .await;
        let after = ready(AHEAD).await;
        assert!(before[..dies].iter().all(|dead| !after.contains(dead)));
        assert!(before[dies..].iter().all(|living| after.contains(living)), "a cell was ended that was well");
    }
    run_good(pool.take().await.unwrap()).await;
}

#[tokio::test]
async fn cells_that_died_a_moment_ago_cost_no_job() {
    let (pool, _dir) = pool();
    for _ in 0..10 {
        let before = ready(AHEAD).await;
        before.iter().for_each(|cell| kill(*cell));
        // On the pool's only thread, which so has had no word of it when the job asks.
        while before.iter().any(|cell| process::is_alive(*cell)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        run_good(pool.take().await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_pool_that_can_start_none_gives_what_it_has_says_why_and_is_full_once_it_can() {
    let (pool, dir) = pool();
    let all = ready(AHEAD).await;
    fs::remove_file(program(&dir)).unwrap();
    all[1..].iter().for_each(|cell| kill(*cell));
    assert_eq!(ready(1).await, all[..1]);
    // Long enough for it to have tried.
    tokio::time::sleep(Duration::from_millis(500)).await;
    run_good(pool.take().await.unwrap()).await;
    ready(0).await;
    for _ in 0..2 * AHEAD {
        assert!(matches!(pool.take().await, Err(CellError::Spawn(_))));
    }
    symlink(eider(), program(&dir)).unwrap();
    // The first job to come has a cell at once; without any the pool is full after a while.
    run_good(pool.take().await.unwrap()).await;
    ready(AHEAD).await;
}

#[tokio::test]
async fn a_job_that_goes_away_takes_no_cell_with_it() {
    let (pool, _dir) = pool();
    let before = ready(AHEAD).await;
    for _ in 0..2 * AHEAD {
        // Long enough to ask, and not to be answered.
        tokio::select! {
            biased;
            _ = pool.take() => unreachable!("nothing has run that could answer"),
            () = std::future::ready(()) => {}
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(ready(AHEAD).await, before);
    run_good(pool.take().await.unwrap()).await;
}

#[tokio::test]
async fn all_cells_end_with_their_pool() {
    let (pool, _dir) = pool();
    ready(AHEAD).await;
    let other = pool.clone();
    let taken = pool.take().await.unwrap();
    drop(pool);
    // Another has it still: it is filled again, beside the one that was taken.
    ready(AHEAD + 1).await;
    drop(other);
    ready(1).await;
    run_good(taken).await;
    ready(0).await;
}
