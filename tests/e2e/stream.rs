//! Results on their way to a user: one far larger than the requester's memory, whose first deliverer lies; a user who takes
//! them slowly; several queries of one user at once.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use eider_node::{Notice, Requester, Sink};
use eider_protocol::{Identity, ResetCode};
use eider_tests::Behaviour::{Honest, Slow, WrongBytes};
use eider_tests::{Grid, Job, eider, process, request_of};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The requester may have this much; the result has ten times as much.
const MEMORY_MAX: u64 = 200 << 20;

#[test]
fn two_gigabytes_arrive_whole_in_bounded_memory_though_a_byte_was_flipped() {
    // The liar commits first, for the others take two seconds longer.
    let grid = Grid::start(&[WrongBytes, Slow], &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (out, record) = (dir.path().join("big.arrow"), dir.path().join("record.json"));
    let sql = "SELECT i, i * 7 AS j, hash(i) AS h, md5(i::VARCHAR) AS m FROM range(33000000) t(i)";
    let mut command = Command::new(eider());
    command.args(["query", "-k", "2", "-q", "2", "--stall", "60s", "--format", "arrow", sql]);
    command.arg("-o").arg(&out).arg(format!("--explain={}", record.display()));
    for c in grid.candidates() {
        command.arg("-w").arg(format!("{}#{}", c.address, c.node.unwrap()));
    }
    let mut child = command.env("EIDER_HOME", dir.path()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(process::memory(child.id(), "VmHWM"));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert!(status.success(), "{record}");
    let fates: Vec<_> = record["peers"].as_array().unwrap().iter().map(|p| &p["fate"]).collect();
    let caught = json!({"is": "caught", "code": ResetCode::WrongBytes.word(), "why": null});
    assert!(fates.contains(&&caught), "{fates:?}");
    assert!(fates.contains(&&json!({"is": "settled", "verdict": "delivered"})), "{fates:?}");
    let root = record["outcome"]["completed"]["root"].as_str().unwrap();
    let mut hasher = blake3::Hasher::new();
    let length = io::copy(&mut std::fs::File::open(&out).unwrap(), &mut hasher).unwrap();
    assert_eq!(hasher.finalize().to_string(), root, "a wrong byte reached the file");
    assert!(length > 1_900_000_000, "{length}");
    assert!(peak > 0 && peak < MEMORY_MAX, "{peak} bytes");
}

/// `eider query` on a grid, as a user with this home.
fn query(grid: &Grid, home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(eider());
    command.arg("query").args(args).env("EIDER_HOME", home);
    for c in grid.candidates() {
        command.arg("-w").arg(format!("{}#{}", c.address, c.node.unwrap()));
    }
    command
}

/// A pause of the reader that is longer than any time in which a peer must move.
const PAUSE: Duration = Duration::from_secs(30);

#[test]
fn a_user_who_reads_nothing_for_a_while_gets_it_all_and_nobody_is_blamed() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let record = home.path().join("record.json");
    let explain = format!("--explain={}", record.display());
    // 100 MB, of which a pipe takes 64 KiB and the requester's memory 8 MiB.
    let sql = "SELECT i, md5(i::VARCHAR) AS m FROM range(2500000) t(i)";
    let mut child =
        query(&grid, home.path(), &["--format", "csv", &explain, sql]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(PAUSE);
    let mut rows = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rows).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rows.lines().count(), 2_500_001);
    let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let peers = record["peers"].as_array().unwrap();
    assert!(peers.iter().all(|p| p["at_fault"] == false), "{peers:?}");
    // Its workers were free long before its user was.
    assert!(record["timeline"].as_array().unwrap().last().unwrap()["ms"].as_f64().unwrap() < PAUSE.as_millis() as f64);
}

#[test]
fn two_queries_of_one_user_at_once_do_not_touch_each_other() {
    let grid =
        Grid::start(&[Honest, Honest, Honest], &["--jobs", "4", "--per-requester", "4", "--memory", "9GiB"]).unwrap();
    let home = tempfile::tempdir().unwrap();
    assert!(query(&grid, home.path(), &["SELECT 0"]).output().unwrap().status.success());
    for round in 0..100 {
        let start = |sql: &str| {
            query(&grid, home.path(), &["--memory", "512MiB", sql])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        };
        // One that is over while the other still runs or delivers.
        let long = start("SELECT count(*), max(i) FROM range(3000000) t(i)").unwrap();
        let short = start("SELECT 42 AS answer").unwrap();
        let (short, long) = (short.wait_with_output().unwrap(), long.wait_with_output().unwrap());
        let said = |o: &std::process::Output| String::from_utf8_lossy(&o.stderr).into_owned();
        assert!(short.status.success(), "round {round}: {}", said(&short));
        assert!(long.status.success(), "round {round}: {}", said(&long));
        assert_eq!(
            (&short.stdout[..], &long.stdout[..]),
            (&b"answer\n42\n"[..], &b"count_star(),max(i)\n3000000,2999999\n"[..])
        );
    }
}

/// A pipe that nobody reads and nobody closes.
struct Stuck;

impl Sink for Stuck {
    fn write(&mut self, _: Bytes) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_ends_though_the_pipe_is_stuck_and_the_disk_is_full() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    // As a full disk: what memory does not hold can be put nowhere, so the output waits for the pipe.
    let nowhere = std::env::temp_dir().join("no-such-folder-of-a-requester");
    let requester = Requester::new(Identity::generate().unwrap(), nowhere);
    // 100 MB.
    let job = Job::new("SELECT i, md5(i::VARCHAR) AS m FROM range(2500000) t(i)");
    let request = request_of(&job, grid.candidates()).unwrap();
    let (notices, mut watched) = watch::channel(Notice::default());
    let stop = CancellationToken::new();
    let asked = tokio::spawn({
        let stop = stop.clone();
        async move { requester.request(request, Box::new(Stuck), notices, stop).await }
    });
    let filling = watched.wait_for(|n| n.delivered.is_some_and(|(done, _)| done > 5 << 20));
    tokio::time::timeout(Duration::from_secs(60), filling).await.expect("no result comes").unwrap();
    // The rest of the memory fills, and the next piece waits.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!asked.is_finished());
    stop.cancel();
    // A record of a cancelled job, or an output that was interrupted: either is an end.
    let ended = tokio::time::timeout(Duration::from_secs(20), asked).await;
    assert!(ended.is_ok(), "a cancelled job does not end");
}

/// `eider query ... | head -1`: who reads has enough, and what happened is kept.
#[test]
fn a_job_whose_reader_leaves_is_on_record() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let sql = "SELECT i, md5(i::VARCHAR) AS m FROM range(1000000) t(i)";
    let mut child = query(&grid, home.path(), &["--format", "csv", sql]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"i,m\n");
    assert!(child.wait().unwrap().success());
    let listed = Command::new(eider()).args(["audit", "list"]).env("EIDER_HOME", home.path()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("cancelled"), "{listed}");
}
