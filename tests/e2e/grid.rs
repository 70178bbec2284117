//! Jobs on grids of real worker processes, some of which lie, stall or die.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use eider_net::Endpoint;
use eider_node::Candidate;
use eider_protocol::{
    Bid, Body, DataClass, DeclineReason, Hash, Identity, Kind, Offer, Outcome, ResetCode, Signed, Version, encode_frame,
};
use eider_sandbox::Variant;
use eider_tests::Behaviour::{self, BadDisk, Honest, Slow, Stall, WrongBytes, WrongCommit};
use eider_tests::{Grid, Job, Ran, eider, process, request_of, target_dir};

/// A query of some seconds that neither reads nor returns anything to speak of, for jobs that are not to end.
const LONG: &str = "SELECT count(*) FROM range(25000) a, range(25000) b WHERE (a.range * b.range) % 7 = 3";
/// One of about a second, for a job that is.
const SHORT: &str = "SELECT count(*) FROM range(10000) a, range(10000) b WHERE (a.range * b.range) % 7 = 3";

#[tokio::test(flavor = "multi_thread")]
async fn workers_agree_to_the_bit_on_whatever_could_differ() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    for sql in [
        "SELECT 42 AS answer",
        "SELECT random(), random(), uuid(), now(), current_date, setseed(0.5), random()",
        "SELECT avg(sin(i) / 3), stddev(sqrt(i)), sum(i * 0.1) FROM range(300000) t(i)",
        "SELECT i % 1013 AS k, count(*), sum(i), max(hash(i)) FROM range(200000) t(i) GROUP BY k",
        "SELECT a.i, b.i FROM range(20000) a(i) JOIN range(20000) b(i) ON a.i % 997 = b.i % 991 AND a.i < b.i - 19000",
        "SELECT * FROM range(50000) t(i) USING SAMPLE 100",
        "SELECT 'NaN'::DOUBLE, -('NaN'::DOUBLE), 0.0/0.0, approx_quantile(random(), 0.3) FROM range(10000)",
    ] {
        let ran = grid.run(&Job::new(sql).of(3, 3)).await.unwrap();
        assert_eq!((ran.record.end.word(), ran.record.agreed.len()), ("verified", 3), "{sql}: {}", ran.record.reason);
    }
    let random = |seed: u8| Job { seed: [seed; 32], ..Job::new("SELECT random(), uuid() FROM range(3)") };
    let (one, same, other) = (
        grid.run(&random(1)).await.unwrap().csv().unwrap(),
        grid.run(&random(1)).await.unwrap().csv().unwrap(),
        grid.run(&random(2)).await.unwrap().csv().unwrap(),
    );
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_and_stalls_neither_change_nor_delay_an_answer() {
    let grid = Grid::start(&[WrongCommit, Honest, Stall, Honest, Honest], &[]).unwrap();
    for _ in 0..3 {
        let ran = grid.run(&Job::new("SELECT sum(i) FROM range(1000) t(i)").of(4, 3)).await.unwrap();
        assert_eq!(ran.record.end.word(), "verified", "{}", ran.record.reason);
        assert_eq!(ran.csv().unwrap(), "499500\n");
        let liar = ran.fate(&grid, 0);
        assert!(!liar.contains("agreed") && !liar.contains("delivered"), "{liar}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_ends_while_the_slowest_honest_worker_still_runs() {
    let grid = Grid::start(&[Honest, Slow, Honest], &[]).unwrap();
    let ran = grid.run(&Job::new("SELECT 1").of(3, 2)).await.unwrap();
    assert_eq!(ran.record.end.word(), "verified");
    let slow = ran.record.peers.iter().find(|p| p.node == grid.candidates()[1].node).unwrap();
    assert!(slow.commit.is_none(), "it had committed: {}", slow.fate);
    assert_eq!(slow.fate.to_string(), "reset: quorum was reached without this worker");
}

/// A job that is verified though this worker has to deliver first, and what became of the worker.
async fn first_delivered_by(behaviour: Behaviour) -> (Ran, String) {
    // It commits first, for the others take two seconds longer.
    let grid = Grid::start(&[behaviour, Slow, Slow], &[]).unwrap();
    let sql = "SELECT i, i::VARCHAR || ' and some text' FROM range(300000) t(i)";
    let ran = grid.run(&Job::new(sql).of(3, 2)).await.unwrap();
    assert_eq!(ran.record.end.word(), "verified", "{}", ran.record.reason);
    let fate = ran.fate(&grid, 0);
    (ran, fate)
}

#[tokio::test(flavor = "multi_thread")]
async fn false_bytes_are_caught_and_delivered_again_by_another() {
    let (ran, fate) = first_delivered_by(WrongBytes).await;
    assert_eq!(fate, "caught: its bytes do not match the committed root");
    let Some(Outcome::Completed { root, length, .. }) = ran.record.outcome else { panic!() };
    assert_eq!(ran.bytes.len() as u64, length);
    assert_eq!(Hash::from(blake3::hash(&ran.bytes)), root, "a wrong byte reached the output");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workers_disk_makes_of_its_result_is_not_sent_and_blames_nobody() {
    let (ran, fate) = first_delivered_by(BadDisk).await;
    assert_eq!(fate, "lost: the delivery broke off");
    assert!(ran.record.peers.iter().all(|p| !p.at_fault));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_and_a_killed_grid_is_said() {
    let mut grid = Grid::start(&[Honest, Honest, Honest, Honest], &[]).unwrap();
    let request = |grid: &Grid, sql: &str| {
        let mut job = Job::new(sql).of(3, 3);
        job.plan.stall_ms = 5000;
        let requester = eider_node::Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
        let request = request_of(&job, grid.candidates()).unwrap();
        let (notices, watched) = tokio::sync::watch::channel(eider_node::Notice::default());
        let run = tokio::spawn(async move {
            requester.request(request, Box::new(eider_node::Discard), notices, Default::default()).await
        });
        (run, watched)
    };
    let (run, mut watched) = request(&grid, LONG);
    watched.wait_for(|n| n.running == 3).await.unwrap();
    grid.kill(0);
    grid.kill(1);
    let record = run.await.unwrap().unwrap();
    // Three must agree and two of four are dead.
    assert_eq!(record.end.word(), "no-quorum", "{}", record.reason);
    assert!(
        record.peers.iter().any(|p| p.fate.to_string().contains("no progress") || p.fate.to_string().contains("lost")),
        "{:?}",
        record.peers
    );

    grid.add(Honest, &[]).unwrap();
    grid.add(Honest, &[]).unwrap();
    let (run, mut watched) = request(&grid, SHORT);
    watched.wait_for(|n| n.running == 3).await.unwrap();
    // Of the four that live, three run the job: one of these two does.
    grid.kill(2);
    let record = run.await.unwrap().unwrap();
    assert_eq!(record.end.word(), "verified", "{}", record.reason);

    for i in 3..6 {
        grid.kill(i);
    }
    let (run, _) = request(&grid, SHORT);
    let record = run.await.unwrap().unwrap();
    assert_eq!(record.end.word(), "no-candidates", "{}", record.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_travel_once_and_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let csv: String = (0..200_000).map(|i| format!("{i},name {}\n", i % 10)).collect();
    std::fs::write(dir.path().join("part1.csv"), format!("i,name\n{csv}")).unwrap();
    std::fs::write(dir.path().join("part2.csv"), "i,name\n7,late\n").unwrap();
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let job =
        Job::new("SELECT count(*), max(i), min(name) FROM logs").of(3, 3).input("logs", &dir.path().join("*.csv"));
    let first = grid.run(&job).await.unwrap();
    assert_eq!(first.csv().unwrap(), "200001,199999,late\n", "{}", first.record.reason);
    assert!(first.record.peers.iter().all(|p| p.input_bytes > 0));
    let again = grid.run(&job).await.unwrap();
    assert_eq!(again.csv().unwrap(), "200001,199999,late\n");
    assert!(again.record.peers.iter().all(|p| p.input_bytes == 0), "fetched again: {:?}", again.record.peers);
    let by_name = grid.run(&Job { sql: "SELECT count(*) FROM read_csv('logs')".into(), ..job }).await.unwrap();
    assert_eq!(by_name.csv().unwrap(), "200001\n", "{}", by_name.record.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workers_disk_gives_back_otherwise_is_fetched_again_and_blames_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let csv: String = (0..400_000).map(|i| format!("{i}\n")).collect();
    std::fs::write(dir.path().join("t.csv"), format!("i\n{csv}")).unwrap();
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let job = Job::new("SELECT count(*), sum(i) FROM t").of(3, 3).input("t", &dir.path().join("t.csv"));
    let sum = "400000,79999800000\n";
    assert_eq!(grid.run(&job).await.unwrap().csv().unwrap(), sum);
    let files = std::fs::read_dir(grid.home(0).join("inputs")).unwrap().flatten();
    let cached = files.max_by_key(|file| file.metadata().unwrap().len()).unwrap().path();
    let mut bytes = std::fs::read(&cached).unwrap();
    let digit = bytes[1_500_000..].iter_mut().find(|b| b.is_ascii_digit() && **b != b'9').unwrap();
    *digit += 1;
    std::fs::write(&cached, &bytes).unwrap();
    let again = grid.run(&job).await.unwrap();
    assert_eq!(again.record.end.word(), "verified", "{}", again.record.reason);
    assert_eq!(again.csv().unwrap(), sum);
    let fetched: Vec<_> = again.record.peers.iter().map(|p| (p.at_fault, p.input_bytes)).collect();
    assert_eq!(fetched.iter().filter(|(_, bytes)| *bytes > 0).count(), 1, "{fetched:?}");
    assert!(fetched.iter().all(|(at_fault, bytes)| !at_fault && *bytes <= 1 << 20), "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_program_is_replaced_goes_on_with_cells_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    // A name of its own in the same file system, so that no hundred megabytes are copied.
    let dir = tempfile::tempdir_in(target_dir()).unwrap();
    let (program, next) = (dir.path().join("eider"), dir.path().join("next"));
    std::fs::hard_link(eider(), &program).unwrap();
    let grid = Grid::start_of(&program, &[Honest], &[]).unwrap();
    std::fs::write(&next, "#!/bin/false\n").unwrap();
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&next, &program).unwrap();
    // More than cells were waiting.
    for n in 0..8 {
        let ran = grid.run(&Job::new(&format!("SELECT {n}")).of(1, 1)).await.unwrap();
        assert_eq!(ran.csv().unwrap(), format!("{n}\n"), "{}", ran.record.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_inputs_are_named_before_any_wrong_row() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let error = |inputs: &[(&str, &Path)]| {
        let mut job = Job::new("SELECT 1");
        for (name, path) in inputs {
            job = job.input(name, path);
        }
        request_of(&job, vec![]).unwrap_err().to_string()
    };
    std::fs::write(at("a.csv"), "x\n1\n").unwrap();
    assert!(error(&[("t", &at("none.parquet"))]).contains("none.parquet"));
    assert!(error(&[("t", &at("*.parquet"))]).contains("nothing matches"));
    assert!(error(&[("t", &at("[.csv"))]).contains("[.csv"));
    assert!(error(&[("t", &at("a.csv")), ("T", &at("a.csv"))]).contains("used twice"));
    assert!(error(&[("bad name", &at("a.csv"))]).contains("cannot name an input"));
    std::fs::write(at("what"), "?").unwrap();
    assert!(error(&[("t", &at("what"))]).contains("cannot tell the format"));

    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    std::fs::write(at("broken.parquet"), b"PAR1 this is no parquet file at all PAR1").unwrap();
    let job = Job::new("SELECT * FROM broken").input("broken", &at("broken.parquet"));
    let ran = grid.run(&job).await.unwrap();
    assert_eq!(ran.record.end.word(), "job-failed");
    assert!(
        ran.record.reason.contains("an input is at fault") && ran.record.reason.contains("broken.parquet"),
        "{}",
        ran.record.reason
    );

    // Written to between pinning and reading: the bytes no longer match what was promised.
    let rows: String = (0..100_000).map(|i| format!("{i}\n")).collect();
    std::fs::write(at("moving.csv"), format!("x\n{rows}")).unwrap();
    let job = Job::new("SELECT sum(x) FROM moving").input("moving", &at("moving.csv"));
    let request = request_of(&job, grid.candidates()).unwrap();
    std::fs::write(at("moving.csv"), format!("x\n{}", rows.replace('1', "2"))).unwrap();
    let (notices, _) = tokio::sync::watch::channel(Default::default());
    let requester = eider_node::Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
    let record = requester.request(request, Box::new(eider_node::Discard), notices, Default::default()).await.unwrap();
    assert_eq!(record.end.word(), "input-failed", "{}", record.reason);
    assert!(record.reason.contains("moving.csv") && record.peers.iter().all(|p| !p.at_fault), "{}", record.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_declined_with_its_reason() {
    let grid = Grid::start(&[Honest, Honest], &["--memory", "1GiB"]).unwrap();
    let ran = grid.run(&Job::new("SELECT 1").of(2, 2)).await.unwrap();
    assert_eq!(ran.record.end.word(), "exceeds-capacity", "{}", ran.record.reason);
    assert!(ran.record.peers[0].fate.to_string().contains("memory"), "{}", ran.record.peers[0].fate);
    let ran = grid.run(&Job { variant: Variant::Metered, ..Job::new("SELECT 1").of(2, 2) }).await.unwrap();
    assert_eq!(ran.record.end.word(), "no-candidates");
    assert!(ran.record.peers[0].fate.to_string().contains(Variant::Metered.profile()), "{}", ran.record.peers[0].fate);
    let nobody: Candidate = "127.0.0.1:9".parse().unwrap();
    let mut job = Job::new("SELECT 1").of(1, 1);
    job.plan.bid_timeout_ms = 500;
    let record = grid.run_into(&job, vec![nobody], Box::new(eider_node::Discard)).await.unwrap();
    assert_eq!(record.end.word(), "no-candidates");
    assert!(
        record.peers[0].address == "127.0.0.1:9" && record.peers[0].fate.to_string().contains("unreachable"),
        "{:?}",
        record.peers
    );
}

fn offer(identity: &Identity, requester: &Identity) -> Signed<Offer> {
    let mut offer = request_offer();
    offer.requester = requester.node_id();
    Signed::sign(identity, Version::LATEST, offer)
}

fn request_offer() -> Offer {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let request = request_of(&Job::new("SELECT 1"), vec![]).unwrap();
    Offer {
        attest: None,
        requester: Identity::from_seed([0; 32]).node_id(),
        task: Hash::from_bytes([5; 32]),
        draw: Hash::from_bytes([6; 32]),
        issued_at: i64::try_from(now.as_secs()).unwrap(),
        valid_s: 60,
        class: DataClass::Public,
        engine: request.engine,
        profile: Variant::Plain.profile().into(),
        limits: request.limits,
        inputs: request.inputs.summary(),
        nonce: [9; 32],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_reset_their_stream_and_nothing_else() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let (me, other) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &me).unwrap();
    let target = &grid.candidates()[0];
    let connection = endpoint.connect(target.address.parse().unwrap(), target.node).await.unwrap();
    let frame = |kind: Kind, payload: &[u8]| encode_frame(kind, payload).unwrap();
    let truncated = {
        let mut f = frame(Kind::Offer, &offer(&me, &me).to_payload());
        f.truncate(f.len() - 3);
        f
    };
    let trailing = [offer(&me, &me).to_payload(), vec![0]].concat();
    let cases: Vec<(&str, Vec<u8>, ResetCode)> = vec![
        ("unknown kind", vec![99, 0, 0, 0, 0], ResetCode::UnknownKind),
        ("too large", vec![Kind::Offer as u8, 0xff, 0xff, 0xff, 0xff], ResetCode::FrameTooLarge),
        ("truncated", truncated, ResetCode::Malformed),
        ("not CBOR", frame(Kind::Offer, b"\xff\xff\xff"), ResetCode::Malformed),
        ("trailing bytes", frame(Kind::Offer, &trailing), ResetCode::Malformed),
        ("out of order", frame(Kind::Commit, b"\xa0"), ResetCode::Unexpected),
        ("another's key", frame(Kind::Offer, &offer(&other, &other).to_payload()), ResetCode::WrongPeer),
        ("for another requester", frame(Kind::Offer, &offer(&me, &other).to_payload()), ResetCode::WrongPeer),
        ("a verify in clear", frame(Kind::Verify, b"\xa0"), ResetCode::Unexpected),
        ("sealed for nothing", frame(Kind::Sealed, b"\xa0"), ResetCode::Malformed),
    ];
    for (what, bytes, code) in cases {
        let mut stream = connection.open().await.unwrap();
        stream.sender.bytes(bytes.into()).await.unwrap();
        stream.sender.finish().await;
        let answer = tokio::time::timeout(Duration::from_secs(10), stream.receiver.frame_of(Kind::ALL)).await.unwrap();
        match answer {
            Err(eider_net::StreamError::Reset(got)) => assert_eq!(got, code, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // The same connection still serves a decent Offer, and an engine that the worker does not have is declined.
    let mut wrong_engine = request_offer();
    wrong_engine.requester = me.node_id();
    wrong_engine.engine = Hash::from_bytes([3; 32]);
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&Signed::sign(&me, Version::LATEST, wrong_engine)).await.unwrap();
    let bid =
        stream.receiver.expect_of(Kind::ALL).await.unwrap().open::<Bid>(Version::LATEST, connection.node()).unwrap();
    assert_eq!(bid.message().answer.as_ref().unwrap_err().reason, DeclineReason::Engine);
    assert_eq!(Bid::KIND, Kind::Bid);
    assert_eq!(grid.run(&Job::new("SELECT 1").of(3, 3)).await.unwrap().record.end.word(), "verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cell_outlives_its_worker_however_that_ends() {
    let mut grid = Grid::start(&[Honest, Honest], &[]).unwrap();
    let mut job = Job::new(LONG).of(2, 2);
    job.plan.stall_ms = 5000;
    let request = request_of(&job, grid.candidates()).unwrap();
    let (notices, mut watched) = tokio::sync::watch::channel(eider_node::Notice::default());
    let requester = eider_node::Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
    let run = tokio::spawn(async move {
        requester.request(request, Box::new(eider_node::Discard), notices, Default::default()).await
    });
    watched.wait_for(|n| n.running == 2).await.unwrap();
    let cells: Vec<u32> = [grid.pid(0), grid.pid(1)].into_iter().flat_map(process::descendants).collect();
    assert!(cells.len() >= 2, "{cells:?}");
    grid.kill(0);
    let pid = rustix::process::Pid::from_raw(i32::try_from(grid.pid(1)).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    process::eventually(|| {
        let left: Vec<_> = cells.iter().filter(|c| process::is_alive(**c)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("cells left: {left:?}\n{}", grid.log(1))) }
    })
    .await;
    let record = run.await.unwrap().unwrap();
    assert_eq!(record.end.word(), "no-quorum", "{}", record.reason);
}
