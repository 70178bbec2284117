//! The neighbour test: honest jobs beside all strangers, first one after the other, then all at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::*;
use crate::{Job, target_dir, tpch};

/// A stranger that plays a requester.
pub type Asks = (&'static str, fn(&'static Town) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>);
/// A job beside strangers that play workers.
pub type Answers = Asks;

/// A behaviour is cut off after this time, to begin anew or leave its place to the next.
const TURN: Duration = Duration::from_secs(15);
/// After so many short jobs comes one of TPC-H.
const SHORT: usize = 20;
/// Workers are back at rest in this time.
const REST: Duration = Duration::from_secs(10);

/// What an honest requester saw.
#[derive(Default)]
struct Seen {
    /// Milliseconds of each `SELECT 1`, offer to last byte.
    short: Vec<f64>,
    /// The same of a TPC-H query.
    long: Vec<f64>,
}

impl Seen {
    fn print(&mut self, when: &str) {
        let at = |times: &mut Vec<f64>, share: f64| {
            times.sort_by(f64::total_cmp);
            let last = times.len().saturating_sub(1);
            times.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
        };
        println!(
            "  {when:<24} {:5} times SELECT 1: p50 {:6.1} ms, p99 {:7.1} ms; {:3} times TPC-H 6: p50 {:6.1} ms, worst {:7.1} ms",
            self.short.len(),
            at(&mut self.short, 0.5),
            at(&mut self.short, 0.99),
            self.long.len(),
            at(&mut self.long, 0.5),
            at(&mut self.long, 1.0)
        );
    }
}

/// Plays everything for so many seconds: a tenth without strangers, four with one after the other, five with all at once. Each
/// honest job must be verified and right, and no honest worker blamed; the workers must be at rest again within ten seconds.
///
/// # Errors
/// What was not so.
pub fn neighbours(asks: &'static [Asks], answers: &'static [Answers], seconds: u64) -> Result<()> {
    let (here, _alone) = Town::enter()?;
    Town::runtime().block_on(play_all(here, asks, answers, seconds))
}

/// Where strangers that ask run: their own work is not what neighbours are slowed by where each has a machine of its own, so
/// it is in the scheduler's idle class, as the cells are.
fn elsewhere() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(idle).build();
    RUNTIME.get_or_init(|| build().expect("a test's machine has threads"))
}

#[expect(unsafe_code, reason = "sched_setscheduler has no safe wrapper here")]
fn idle() {
    // SAFETY: the parameter is a valid struct, and pid 0 is this thread. A thread may always be less than it was.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 }) };
}

async fn play_all(here: &'static Town, asks: &'static [Asks], answers: &'static [Answers], seconds: u64) -> Result<()> {
    println!("honest jobs beside {} strangers, {seconds} s", asks.len() + answers.len());
    let data = target_dir().join("demo").join("tpch-sf0.1");
    tpch::generate(&data, 0.1)?;
    // The first job fetches the data.
    honest(here, Duration::ZERO).await?;
    let rest = here.at_rest().await;
    let mut alone = honest(here, Duration::from_secs(seconds).div_f64(10.0)).await?;
    alone.print("without strangers");

    let phase = Duration::from_secs(seconds).mul_f64(0.4);
    let over = AtomicBool::new(false);
    let one_by_one = async {
        let started = Instant::now();
        let mut turns = asks.iter().cycle();
        while started.elapsed() < phase {
            if let Some((_, play)) = turns.next() {
                let mut turn = JoinSet::new();
                turn.spawn_on(tokio::time::timeout(TURN.min(phase), play(here)), elsewhere().handle());
                let _ = turn.join_next().await;
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(honest_until(here, &over), one_by_one);
    seen?.print("one after the other");

    let phase = Duration::from_secs(seconds).mul_f64(0.5);
    let over = AtomicBool::new(false);
    let all_at_once = async {
        let mut strangers = JoinSet::new();
        for (_, play) in asks {
            let again_and_again = async move {
                loop {
                    let _ = tokio::time::timeout(TURN, play(here)).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            strangers.spawn_on(again_and_again, elsewhere().handle());
        }
        let started = Instant::now();
        let mut turns = answers.iter().cycle();
        let mut wrong = Ok(());
        while started.elapsed() < phase && wrong.is_ok() {
            match turns.next() {
                Some((name, play)) => {
                    // One that is cut off has shown nothing.
                    if let Ok(played) = tokio::time::timeout(TURN, play(here)).await {
                        wrong = played.context(*name);
                    }
                }
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        strangers.shutdown().await;
        over.store(true, Ordering::Relaxed);
        wrong
    };
    let (seen, wrong) = tokio::join!(honest_until(here, &over), all_at_once);
    seen?.print("all at once");
    wrong?;
    let left = Instant::now();
    here.back_at(&rest).await;
    println!(
        "  all workers at rest again {:.1} s after the last stranger left (goal {} s)",
        left.elapsed().as_secs_f64(),
        REST.as_secs()
    );
    here.neighbour().await
}

async fn honest(here: &Town, time: Duration) -> Result<Seen> {
    let over = AtomicBool::new(time.is_zero());
    let clock = async {
        tokio::time::sleep(time).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(honest_until(here, &over), clock).0
}

/// Honest jobs, one after the other, at least one of each kind.
async fn honest_until(here: &Town, over: &AtomicBool) -> Result<Seen> {
    let data = target_dir().join("demo").join("tpch-sf0.1");
    let long = Job { inputs: tpch::inputs(&data), memory: 512 << 20, ..Job::new(&tpch::query(6)?) };
    let short = Job { memory: 128 << 20, ..Job::new("SELECT 42 AS answer") };
    let mut seen = Seen::default();
    let mut revenue = None;
    loop {
        for _ in 0..SHORT {
            let csv = run(here, &short, &mut seen.short).await?;
            ensure!(csv == "42\n", "the neighbour got {csv:?}");
        }
        let csv = run(here, &long, &mut seen.long).await?;
        ensure!(
            *revenue.get_or_insert_with(|| csv.clone()) == csv,
            "TPC-H 6 came out as {csv:?}, and before as {revenue:?}"
        );
        if over.load(Ordering::Relaxed) {
            return Ok(seen);
        }
    }
}

async fn run(here: &Town, job: &Job, times: &mut Vec<f64>) -> Result<String> {
    let ran = here.grid.run(job).await?;
    let fates: Vec<_> = ran.record.peers.iter().map(|p| p.fate.to_string()).collect();
    ensure!(ran.record.end.word() == "verified", "{}: {}; {fates:?}", ran.record.end, ran.record.reason);
    ensure!(ran.record.peers.iter().all(|p| !p.at_fault), "an honest worker was blamed: {fates:?}");
    times.push(ran.record.took_ms());
    ran.csv()
}
