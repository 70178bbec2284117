//! The operator of a machine, who has a copy of its worker's key file and stands between it and its requesters.
//!
//! What TLS proves is that file, so toward a requester the operator is the worker. Toward the worker it is never the requester: a worker
//! serves an Offer to the node alone that signed it, and makes evidence for nobody else. Here the requester's key is given to the
//! operator besides, who can so take both ways apart and read each stream; what is left must be sizes and times.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eider_net::{Connection, Endpoint, Incoming, Receiver, Sender, StreamError};
use eider_node::{Candidate, JobRecord, MemorySink, Notice, Requester, Requirement, load_or_create_key};
use eider_protocol::{
    Accept, Bid, CHUNK_GROUP_BYTES, Commit, FailureKind, Fetch, Identity, JobSecret, Kind, Lane, Metering, NodeId,
    Offer, OfferId, Outcome, ResetCode, Sealed, Sealer, SealingKey, Signed, Task, Version, encode_frame,
};
use eider_tests::{Behaviour::Honest, Grid, Job, request_of};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A word of the input's bytes; backwards, it is one of the result's, and stands nowhere else.
const WORD: &str = "oiseau-de-la-toundra";
/// The same of a query that fails, and of its message.
const FAILING: &str = "perdrix-des-saules";
/// It stands in the query.
const COLUMN: &str = "ornithologie";

fn backwards(word: &str) -> String {
    word.chars().rev().collect()
}

/// A table of some MB, whose file has the name of a column that is nobody's business.
fn input(folder: &Path) -> PathBuf {
    let path = folder.join("migration-routes.csv");
    let lines = (0..60_000).map(|i| format!("{i},{WORD}-{i}\n"));
    std::fs::write(&path, ["i,word\n".to_string()].into_iter().chain(lines).collect::<String>()).unwrap();
    path
}

async fn run(requester: &Requester, job: &Job, at: Candidate) -> (JobRecord, Vec<u8>) {
    let (request, sink) = (request_of(job, vec![at]).unwrap(), MemorySink::default());
    let (notices, _) = watch::channel(Notice::default());
    let record = requester.request(request, Box::new(sink.clone()), notices, CancellationToken::new()).await.unwrap();
    (record, sink.take())
}

/// All that went by, both ways, on all streams.
type Seen = Arc<Mutex<Vec<u8>>>;

/// Passes every stream on, byte for byte, and keeps a copy.
async fn relay(endpoint: Endpoint, (back, worker): (Endpoint, Candidate), seen: Seen) {
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let requester = Endpoint::finish(incoming).await.unwrap();
        let worker = back.connect(worker.address.parse().unwrap(), worker.node).await.unwrap();
        tasks.spawn(one_way(requester.clone(), worker.clone(), seen.clone()));
        tasks.spawn(one_way(worker, requester, seen.clone()));
    }
}

/// The streams that one side opens.
async fn one_way(from: Connection, to: Connection, seen: Seen) {
    let (_from, _to) = (from.widen(), to.widen());
    let mut tasks = JoinSet::new();
    while let Ok(stream) = from.accept().await {
        let other = to.open().await.unwrap();
        let (there, back) = ((stream.receiver, other.sender), (other.receiver, stream.sender));
        tasks.spawn(copy(there, seen.clone()));
        tasks.spawn(copy(back, seen.clone()));
    }
}

async fn copy((mut from, mut to): (Receiver, Sender), seen: Seen) {
    loop {
        match from.bytes().await {
            Ok(Some(bytes)) => {
                seen.lock().unwrap().extend_from_slice(&bytes);
                if let Err(StreamError::Reset(code)) = to.bytes(bytes).await {
                    return from.stop(code);
                }
            }
            Ok(None) => {
                to.finish().await;
                return to.delivered().await;
            }
            Err(e) => return to.reset(e.code()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_connection_apart_reads_nothing() {
    let grid = Grid::start(&[Honest], &[]).unwrap();
    let worker = grid.candidates()[0].clone();
    let (key, _) = load_or_create_key(&grid.home(0).join("node.key")).unwrap();
    let person = Identity::generate().unwrap();
    let here = || "127.0.0.1:0".parse().unwrap();
    let endpoint = Endpoint::bind(here(), &key).unwrap();
    let between = Candidate { address: endpoint.local_addr().unwrap().to_string(), node: worker.node };
    let back = Endpoint::bind(here(), &person).unwrap();
    let seen = Seen::default();
    let relaying = tokio::spawn(relay(endpoint, (back, worker), seen.clone()));
    let requester = Requester::new(person, std::env::temp_dir());
    let folder = tempfile::tempdir().unwrap();
    let file = input(folder.path());
    let bytes = std::fs::metadata(&file).unwrap().len() as usize;

    let sql = format!("SELECT i, reverse(word) AS {COLUMN} FROM t");
    let (record, result) = run(&requester, &Job::new(&sql).of(1, 1).input("t", &file), between.clone()).await;
    assert_eq!(record.end.word(), "verified", "{}: {}", record.reason, record.peers[0].fate);
    let Some(Outcome::Completed { root, .. }) = record.outcome else { panic!("{:?}", record.outcome) };
    let sql = format!("SELECT CAST(reverse('{FAILING}') AS INTEGER) AS {COLUMN}");
    let (failed, _) = run(&requester, &Job::new(&sql).of(1, 1), between).await;
    let Some(Outcome::Failed { message, .. }) = failed.outcome else { panic!("{:?}", failed.outcome) };
    assert!(message.contains(&backwards(FAILING)), "{message}");
    assert!(failed.peers[0].signed_receipt.is_some() && record.peers[0].signed_receipt.is_some());

    requester.close().await;
    relaying.abort();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.len() > bytes + result.len(), "{} bytes went by, of {bytes} and {}", seen.len(), result.len());
    let (hash, digest) = (record.inputs[0].hash, record.outcome.unwrap().digest());
    let (result, failure) = (backwards(WORD), backwards(FAILING));
    let secrets: [(&str, &[u8]); 9] = [
        ("the query", COLUMN.as_bytes()),
        ("a file's name", b"migration-routes"),
        ("a file's hash", hash.as_bytes()),
        ("an input", WORD.as_bytes()),
        ("the result", result.as_bytes()),
        ("its root", root.as_bytes()),
        ("a settlement's digest", digest.as_bytes()),
        ("why a query failed", failure.as_bytes()),
        ("how far a job is", b"bytes_read"),
    ];
    let read: Vec<_> =
        secrets.iter().filter(|(_, s)| seen.windows(s.len()).any(|w| w == *s)).map(|(what, _)| *what).collect();
    assert!(read.is_empty(), "the man in the middle has read: {}", read.join(", "));
}

/// What the operator got who answers as the worker.
#[derive(Default)]
struct Loot {
    dispatched: AtomicUsize,
    /// What came for its Fetches, and how they ended.
    bytes: Mutex<Vec<u8>>,
    ends: Mutex<Vec<ResetCode>>,
}

/// What streams of a job would be sealed with, if its task had been sealed to the operator.
fn own_secret(offer: OfferId, worker: NodeId) -> JobSecret {
    let task = Task { sql: String::new(), inputs: vec![], time_us: 0, seed: [0; 32], salt: [0; 32] };
    task.seal(offer, worker, SealingKey::generate().unwrap().public(), None).unwrap().1
}

/// A frame under such a seal, and what announces it.
fn sealed(frame: &[u8], (announced, mut sealer): (Sealed, Sealer)) -> Vec<u8> {
    let mut wire = encode_frame(Kind::Sealed, &announced.to_payload()).unwrap();
    sealer.seal(frame, &mut wire).unwrap();
    wire
}

/// Tries to pass an Offer on to the worker. It has no key of the requester.
async fn pass_on(worker: &Candidate, offer: &[u8]) -> Result<Option<Incoming>, StreamError> {
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &Identity::generate().unwrap()).unwrap();
    let connection = endpoint.connect(worker.address.parse().unwrap(), worker.node).await.unwrap();
    let mut stream = connection.open().await?;
    stream.sender.frame(Kind::Offer, offer).await?;
    stream.receiver.frame_of(Kind::ALL).await
}

/// Answers an Offer in the worker's name, with evidence that was made for an earlier Offer and the key in it, asks for the input, and
/// commits to a lie.
async fn impersonate(endpoint: Endpoint, (key, worker): (Identity, Candidate), earlier: Bid, loot: Arc<Loot>) {
    let connection = Endpoint::finish(endpoint.accept().await.unwrap()).await.unwrap();
    let mut stream = connection.accept().await.unwrap();
    let frame = stream.receiver.expect_of(&[Kind::Offer]).await.unwrap();
    let passed_on = pass_on(&worker, &frame.payload).await;
    assert!(matches!(passed_on, Err(StreamError::Reset(ResetCode::WrongPeer))), "{passed_on:?}");
    let offer = frame.open::<Offer>(Version::LATEST, connection.node()).unwrap();
    let id = OfferId::from_bytes(*offer.content_hash().as_bytes());
    let accept = Accept { eta_ms: 0, price: 0, free_memory: 4 << 30, free_jobs: 1 };
    let bid = Bid { offer: id, answer: Ok(accept), ..earlier };
    stream.sender.send(&Signed::sign(&key, Version::LATEST, bid)).await.unwrap();
    stream.receiver.expect_of(&[Kind::Dispatch]).await.unwrap();
    loot.dispatched.fetch_add(1, Ordering::SeqCst);
    let fetch = Fetch { offer: id, index: 0, start: 0, end: CHUNK_GROUP_BYTES }.to_payload();
    let fetch = encode_frame(Kind::Fetch, &fetch).unwrap();
    let secret = own_secret(id, key.node_id());
    for wire in [fetch.clone(), sealed(&fetch, secret.ask(Lane::Fetch).unwrap())] {
        let mut asked = connection.open().await.unwrap();
        asked.sender.bytes(wire.into()).await.unwrap();
        loop {
            match asked.receiver.bytes().await {
                Ok(Some(bytes)) => loot.bytes.lock().unwrap().extend_from_slice(&bytes),
                Err(StreamError::Reset(code)) => break loot.ends.lock().unwrap().push(code),
                _ => break,
            }
        }
    }
    let outcome =
        Outcome::Failed { kind: FailureKind::Query, message: "no such bird".into(), metering: Metering::default() };
    let commit = Commit { offer: id, task: offer.message().task, price: 0, outcome };
    let commit = encode_frame(Kind::Commit, &Signed::sign(&key, Version::LATEST, commit).to_payload()).unwrap();
    let _ = stream.sender.bytes(sealed(&commit, secret.worker().unwrap()).into()).await;
    if let Err(StreamError::Reset(code)) = stream.receiver.frame_of(Kind::ALL).await {
        loot.ends.lock().unwrap().push(code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_with_the_workers_key_and_evidence_is_served_nothing_and_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("worker.toml");
    std::fs::write(&policy, "listen = \"127.0.0.1:0\"\n[attest]\nkind = \"development\"\n").unwrap();
    let grid = Grid::start(&[Honest], &["--policy", policy.to_str().unwrap()]).unwrap();
    let worker = grid.candidates()[0].clone();
    let (key, _) = load_or_create_key(&grid.home(0).join("node.key")).unwrap();
    let requester = Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
    let asks_for = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/attest/development.toml");
    let asks_for = Requirement::parse(&std::fs::read_to_string(asks_for).unwrap()).unwrap();
    let file = input(folder.path());
    let job = Job { attest: Some(asks_for), ..Job::new("SELECT count(*) FROM t").of(1, 1).input("t", &file) };
    let (first, _) = run(&requester, &job, worker.clone()).await;
    assert_eq!(first.end.word(), "verified", "{}", first.reason);
    // As the requester's archive shows it to everybody. The policy lets evidence count again for a while.
    let node: NodeId = worker.node.unwrap();
    let payload = hex::decode(first.peers[0].signed_bid.as_ref().unwrap()).unwrap();
    let bid = Signed::<Bid>::open(&payload, Version::LATEST, node).unwrap();

    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &key).unwrap();
    let between = Candidate { address: endpoint.local_addr().unwrap().to_string(), node: worker.node };
    let loot = Arc::new(Loot::default());
    let playing = impersonate(endpoint, (key, worker.clone()), bid.message().clone(), loot.clone());
    let playing = tokio::spawn(playing);
    let (record, result) = run(&requester, &job, between).await;
    tokio::time::timeout(Duration::from_secs(10), playing).await.unwrap().unwrap();
    assert_eq!(loot.dispatched.load(Ordering::SeqCst), 1, "it was not chosen: {}", record.peers[0].fate);
    let got = loot.bytes.lock().unwrap().len();
    let read = String::from_utf8_lossy(&loot.bytes.lock().unwrap()).contains(WORD);
    let believed = record.outcome.is_some() || !result.is_empty();
    assert!(!read && !believed, "{got} bytes of the input were served, its lie is believed: {believed}");
    let ends = loot.ends.lock().unwrap().clone();
    assert_eq!((got, &ends[..]), (0, &[ResetCode::Unexpected, ResetCode::Unsealed, ResetCode::Unsealed][..]));
    // Whoever has the key file can make this happen: the worker is not to blame.
    assert!(!record.peers[0].at_fault, "{}", record.peers[0].fate);
    let (after, _) = run(&requester, &job, worker).await;
    assert_eq!(after.end.word(), "verified", "{}", after.reason);
}
