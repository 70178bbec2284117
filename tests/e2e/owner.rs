//! What a worker's owner says goes at once: a running job is handed back, and none is taken.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use eider_protocol::ResetCode;
use eider_tests::process::{descendants, eventually, threads};
use eider_tests::{Behaviour::Honest, Grid, Job, Ran, eider};

/// "About a second", on a machine that others load.
const AT_ONCE: Duration = Duration::from_secs(4);

fn control(grid: &Grid, word: &str) {
    let done = Command::new(eider()).args(["worker", word]).env("EIDER_HOME", grid.home(0)).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Whether some cell of the worker has used so much of a processor as no cell does that waits, 0.3 s.
fn is_working(worker: u32) -> bool {
    let ticks = |stat: &str| {
        let words: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
        words.get(11)?.parse::<u64>().ok()
    };
    let busy = |pid| {
        threads(pid).any(|t| {
            std::fs::read_to_string(t.join("stat")).ok().and_then(|stat| ticks(&stat)).is_some_and(|ticks| ticks > 30)
        })
    };
    descendants(worker).into_iter().any(busy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_hands_the_running_job_back_at_once_and_takes_no_other() {
    let grid = Grid::start(&[Honest], &[]).unwrap();
    let endless = Job::new("SELECT count(*) FROM range(1000000000000) a, range(1000000) b").of(1, 1);
    let pause = async {
        eventually(|| if is_working(grid.pid(0)) { Ok(()) } else { Err("no cell works".into()) }).await;
        control(&grid, "pause");
        Instant::now()
    };
    let (ran, paused) = tokio::join!(grid.run(&endless), pause);
    let (ran, took) = (ran.unwrap(), paused.elapsed());
    let is_blamed = |ran: &Ran| ran.record.peers.iter().any(|p| p.at_fault);
    let said = ran.fate(&grid, 0);
    assert_eq!(said, format!("gave up: {}", ResetCode::Withdrawn), "{}", ran.record.reason);
    assert!(!is_blamed(&ran));
    assert!(took < AT_ONCE, "{took:?} after the pause");
    let one = Job::new("SELECT 1").of(1, 1);
    let ran = grid.run(&one).await.unwrap();
    let said = ran.fate(&grid, 0);
    assert!(said.contains("paused") && !is_blamed(&ran), "{said}: {}", ran.record.reason);
    control(&grid, "resume");
    let resumed = Instant::now();
    // It looks every second.
    while grid.run(&one).await.unwrap().record.end.word() != "verified" {
        assert!(resumed.elapsed() < 2 * AT_ONCE, "no job was taken after the pause");
    }
}
