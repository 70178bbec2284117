//! Strangers that need no honest worker beside them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use eider_core::Plan;
use eider_inputs::Inputs;
use eider_net::{Connection, Endpoint};
use eider_protocol::{
    Accept, Bid, Commit, DataClass, Dispatch, FailureKind, Hash, Identity, Kind, Limits, Metering, Offer, OfferId,
    Outcome, SealingKey, Settle, Signed, Version,
};
use eider_requester::{Candidate, JobRequest, Notice, Requester};
use eider_runner::MemorySink;
use eider_sandbox::Variant;
use eider_store::JobRecord;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

async fn run(plan: Plan, candidates: Vec<Candidate>) -> JobRecord {
    let requester = Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
    let request = JobRequest {
        sql: "SELECT 1".into(),
        inputs: Inputs::default(),
        candidates,
        plan,
        engine: Hash::from_bytes([1; 32]),
        variant: Variant::Plain,
        class: DataClass::Public,
        attest: None,
        limits: Limits { memory: 1 << 28, result: 1 << 20, run_ms: 1_000, fuel: None },
        time_us: 0,
        seed: [7; 32],
    };
    let notices = watch::channel(Notice::default()).0;
    let sink = Box::new(MemorySink::default());
    requester.request(request, sink, notices, CancellationToken::new()).await.unwrap()
}

/// One that makes the handshake with everybody and says nothing.
fn silent(tasks: &mut JoinSet<()>) -> SocketAddr {
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &Identity::generate().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    tasks.spawn(async move {
        let mut held: Vec<Connection> = vec![];
        while let Some(incoming) = endpoint.accept().await {
            held.extend(Endpoint::finish(incoming).await);
        }
    });
    address
}

/// [P-OFFER-3]: whoever runs many workers in one place is chosen no more often for it, however it spells the place.
#[tokio::test(flavor = "multi_thread")]
async fn one_machine_under_five_names_weighs_as_much_as_one() {
    let mut tasks = JoinSet::new();
    let candidates: [Candidate; 5] = ["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001"]
        .map(|name| format!("{name}:{}", silent(&mut tasks).port()).parse().unwrap());
    let record = run(Plan::new(3, 2, 2_000), candidates.to_vec()).await;
    let mut met: Vec<_> = record.peers.iter().filter(|p| p.node.is_some()).collect();
    assert!(met.len() > 1, "the names lead nowhere on this machine");
    met.dedup_by_key(|p| p.network.clone());
    assert_eq!(met.len(), 1, "they count as several networks");
}

/// Eleven hundred candidates never answer a handshake: who comes after them in the list is dialled all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_keeps_nobody_from_being_dialled() {
    // Packets to it come in, and are never read.
    let nobody = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    let mut candidates: Vec<Candidate> =
        (0..1_100).map(|n| format!("127.9.{}.{}:{port}", n / 250, n % 250 + 1).parse().unwrap()).collect();
    candidates.push(silent(&mut tasks).to_string().parse().unwrap());
    let record = run(Plan::new(3, 2, 8_000), candidates).await;
    let last = record.peers.last().unwrap();
    assert!(last.node.is_some(), "it was never dialled: {}", last.fate);
}

/// [P-SETTLE-1]: the worker answers with the same content under its own signature; anything else is no receipt.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_something_else_is_none() {
    let identity = Identity::generate().unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
    let address = endpoint.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let connection = Endpoint::finish(endpoint.accept().await.unwrap()).await.unwrap();
        let mut stream = connection.accept().await.unwrap();
        let frame = stream.receiver.expect_of(&[Kind::Offer]).await.unwrap();
        let signed = frame.open::<Offer>(Version::LATEST, connection.node()).unwrap();
        let (offer, task) = (OfferId::from_bytes(*signed.content_hash().as_bytes()), signed.message().task);
        let answer = Ok(Accept { eta_ms: 0, price: 0, free_memory: 1 << 30, free_jobs: 1 });
        let sealing = SealingKey::generate().unwrap();
        let bid = Bid { offer, answer, sealing: sealing.public(), evidence: None };
        stream.sender.send(&Signed::sign(&identity, Version::LATEST, bid)).await.unwrap();
        let frame = stream.receiver.expect_of(&[Kind::Dispatch]).await.unwrap();
        let dispatch = frame.open::<Dispatch>(Version::LATEST, connection.node()).unwrap();
        let (_, secret) = sealing.open(dispatch.message(), None).unwrap();
        stream.receiver.unseal(secret.of_dispatcher());
        let (announced, sealer) = secret.worker().unwrap();
        stream.sender.seal(sealer, Some(announced));
        let outcome = Outcome::Failed { kind: FailureKind::Query, message: "no".into(), metering: Metering::default() };
        let commit = Commit { offer, task, price: 0, outcome };
        stream.sender.send(&Signed::sign(&identity, Version::LATEST, commit)).await.unwrap();
        let frame = stream.receiver.expect_of(&[Kind::Settle]).await.unwrap();
        let settle = frame.open::<Settle>(Version::LATEST, connection.node()).unwrap().message().clone();
        let another = Settle { price: 1_000_000, digest: Hash::from_bytes([0; 32]), ..settle };
        stream.sender.send(&Signed::sign(&identity, Version::LATEST, another)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let record = run(Plan::new(1, 1, 8_000), vec![address.to_string().parse().unwrap()]).await;
    assert_eq!(record.end.word(), "job-failed", "{}", record.reason);
    assert!(record.peers[0].signed_receipt.is_none(), "a receipt of another price and outcome is kept as proof");
}
