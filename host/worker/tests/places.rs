//! What a worker lets one requester hold, with a runner whose every job fails at once.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use eider_core::{Admission, Donation};
use eider_net::{Connection, Endpoint, JobStream, StreamError};
use eider_protocol::{
    Bid, Commit, DataClass, Decline, DeclineReason, FailureKind, Hash, Identity, InputsSummary, Kind, Lane, Limits,
    Metering, Offer, OfferId, Outcome, Progress, ResetCode, Settle, Signed, Task, Verdict,
};
use eider_runner::{InputReader, Product, Runner, Running, Work};
use eider_sandbox::Variant;
use eider_worker::{Spooled, Worker, WorkerSetup};
use tokio::sync::watch;
use tokio::time::timeout;

const ENGINE: Hash = Hash::from_bytes([7; 32]);

struct Fails;

impl Runner for Fails {
    fn run<'a>(&'a self, _: Work, _: &'a dyn InputReader, _: watch::Sender<Progress>) -> Running<'a> {
        let outcome = Outcome::Failed { kind: FailureKind::Query, message: "no".into(), metering: Metering::default() };
        Box::pin(async { Ok(Product { outcome, result: None }) })
    }
}

fn worker(home: &tempfile::TempDir) -> Worker {
    let donation = Donation {
        memory: 4 << 30,
        idle_memory: 0,
        jobs: 4,
        per_requester: 2,
        disk: 1 << 30,
        result: 1 << 20,
        run_ms: 1_000,
        classes: vec![DataClass::Public],
        price: 0,
    };
    let setup = WorkerSetup {
        identity: Identity::from_seed([1; 32]),
        listen: "127.0.0.1:0".parse().unwrap(),
        spooled: Spooled::new(donation.disk),
        donation,
        engines: [(ENGINE, Ok(vec![Variant::Plain.profile().to_string()]))].into(),
        taking: None,
        running: Arc::default(),
        closed: watch::channel(None).1,
        cache: Dir::open_ambient_dir(home.path(), ambient_authority()).unwrap(),
        runner: Arc::new(Fails),
        attester: None,
    };
    Worker::start(setup).unwrap()
}

struct Stranger {
    identity: Identity,
    connection: Connection,
    _endpoint: Endpoint,
}

impl Stranger {
    async fn dial(worker: &Worker) -> Self {
        let identity = Identity::from_seed([2; 32]);
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
        let connection = endpoint.connect(worker.address(), Some(worker.node())).await.unwrap();
        Self { identity, connection, _endpoint: endpoint }
    }

    fn task(n: u8) -> Task {
        Task { sql: "SELECT 1".into(), inputs: vec![], time_us: 0, seed: [0; 32], salt: [n; 32] }
    }

    /// Offers a task; `age_s` ago.
    async fn offer(&self, n: u8, age_s: i64) -> (JobStream, OfferId, Bid) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let offer = Offer {
            requester: self.identity.node_id(),
            task: Self::task(n).hash(),
            draw: Hash::from_bytes([0; 32]),
            issued_at: i64::try_from(now).unwrap() - age_s,
            valid_s: 60,
            class: DataClass::Public,
            engine: ENGINE,
            profile: Variant::Plain.profile().into(),
            limits: Limits { memory: 1 << 20, result: 1 << 20, run_ms: 1_000, fuel: None },
            inputs: InputsSummary { count: 0, bytes: 0 },
            attest: None,
            nonce: [n; 32],
        };
        let signed = Signed::sign(&self.identity, self.connection.version(), offer);
        let mut stream = self.connection.open().await.unwrap();
        stream.sender.send(&signed).await.unwrap();
        let frame = stream.receiver.expect_of(&[Kind::Bid]).await.unwrap();
        let bid = frame.open::<Bid>(self.connection.version(), self.connection.node()).unwrap().message().clone();
        (stream, OfferId::from_bytes(*signed.content_hash().as_bytes()), bid)
    }

    async fn dispatch(&self, stream: &mut JobStream, n: u8, id: OfferId, bid: &Bid) {
        let (dispatch, secret) = Self::task(n).seal(id, self.connection.node(), bid.sealing, None).unwrap();
        let signed = Signed::sign(&self.identity, self.connection.version(), dispatch);
        stream.sender.send(&signed).await.unwrap();
        stream.sender.seal(secret.dispatcher(), None);
        stream.receiver.unseal_answer(&secret, Lane::Job, secret.salt());
    }

    /// A job that has failed and is not settled; or why it is not taken.
    async fn failed(&self, n: u8) -> Result<(JobStream, Commit), Decline> {
        let (mut stream, id, bid) = self.offer(n, 0).await;
        bid.answer.clone()?;
        self.dispatch(&mut stream, n, id, &bid).await;
        loop {
            let frame = stream.receiver.expect_of(&[Kind::Progress, Kind::Commit]).await.unwrap();
            if frame.kind == Kind::Commit {
                let commit = frame.open::<Commit>(self.connection.version(), self.connection.node()).unwrap();
                return Ok((stream, commit.message().clone()));
            }
        }
    }

    async fn settle(&self, stream: &mut JobStream, commit: &Commit) {
        let settle = Settle {
            offer: commit.offer,
            worker: self.connection.node(),
            task: commit.task,
            price: commit.price,
            verdict: Verdict::Agreed,
            digest: commit.outcome.digest(),
        };
        stream.sender.send(&Signed::sign(&self.identity, self.connection.version(), settle)).await.unwrap();
        stream.receiver.expect_of(&[Kind::Settle]).await.unwrap();
    }
}

#[tokio::test]
async fn failures_that_nobody_settles_are_counted_like_results() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(&home);
    let stranger = Stranger::dial(&worker).await;
    let mut unsettled = vec![];
    for n in 0..u8::try_from(Admission::RESULTS_PER_REQUESTER).unwrap() {
        unsettled.push(stranger.failed(n).await.unwrap());
    }
    assert_eq!(stranger.failed(100).await.err().unwrap().reason, DeclineReason::Busy);
    let (mut settled, commit) = unsettled.pop().unwrap();
    stranger.settle(&mut settled, &commit).await;
    unsettled.push(stranger.failed(101).await.unwrap());
    assert_eq!(stranger.failed(102).await.err().unwrap().reason, DeclineReason::Busy);
    // Who goes away wants no receipt.
    unsettled.clear();
    let free = async { while stranger.failed(103).await.is_err() {} };
    timeout(Duration::from_secs(10), free).await.unwrap();
    worker.shutdown().await;
}

/// [P-OFFER-2]
#[tokio::test]
async fn a_dispatch_of_an_offer_that_has_expired_meanwhile_blames_nobody() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(&home);
    let stranger = Stranger::dial(&worker).await;
    let (_, _, bid) = stranger.offer(1, 60 + Offer::SKEW_S + 1).await;
    assert_eq!(bid.answer.unwrap_err().reason, DeclineReason::Expired);
    // Good for a second more.
    let (mut stream, id, bid) = stranger.offer(2, 60 + Offer::SKEW_S - 1).await;
    bid.answer.clone().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    stranger.dispatch(&mut stream, 2, id, &bid).await;
    let got = stream.receiver.expect_of(&[Kind::Progress, Kind::Commit]).await;
    assert!(matches!(got, Err(StreamError::Reset(ResetCode::Expired))), "{got:?}");
    worker.shutdown().await;
}

#[tokio::test]
async fn bids_that_wait_are_counted() {
    let home = tempfile::tempdir().unwrap();
    let worker = worker(&home);
    let stranger = Stranger::dial(&worker).await;
    let mut held = vec![];
    for n in 0..64 {
        let (stream, _, bid) = stranger.offer(n, 0).await;
        bid.answer.unwrap();
        held.push(stream);
    }
    let (_, _, bid) = stranger.offer(64, 0).await;
    assert_eq!(bid.answer.unwrap_err().reason, DeclineReason::Busy);
    held[0].reset(ResetCode::Cancelled);
    let free = async { while stranger.offer(65, 0).await.2.answer.is_err() {} };
    timeout(Duration::from_secs(10), free).await.unwrap();
    worker.shutdown().await;
}
