//! Strangers that play requesters against workers.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use eider_net::{BlobSink, Connection, Endpoint, Pace, Source, file_outboard};
use eider_node::EngineBinary;
use eider_sandbox::Variant;
use tokio::task::JoinSet;

use super::*;
use crate::Job;
use crate::process::memory;
use eider_node::Candidate;

/// Longest that a behaviour may play.
const PLAYS: Duration = Duration::from_secs(90);

/// A requester without manners: an identity, and a connection on which everything is written by hand.
pub struct Stranger {
    /// Who it is.
    pub identity: Identity,
    /// Its socket.
    pub endpoint: Endpoint,
    /// To the worker.
    pub connection: Connection,
    /// What the streams of the jobs are sealed with that it dispatched, on whatever connection.
    secrets: Secrets,
}

/// By job.
type Secrets = Arc<Mutex<HashMap<OfferId, JobSecret>>>;

impl Stranger {
    /// Jobs of one requester that a worker of the neighbourhood runs at a time.
    pub const PER_REQUESTER: u32 = 2;
    /// A query without inputs that runs for minutes.
    pub const LONG: &'static str =
        "SELECT count(*) FROM range(200000) a, range(200000) b WHERE (a.range * b.range) % 7 = 3";
    /// A query without inputs whose result has some MB.
    pub const LARGE: &'static str = "SELECT i, md5(i::VARCHAR) AS m FROM range(150000) t(i)";

    /// A new identity.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn identity() -> Result<Identity> {
        Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))
    }

    /// A new identity, connected to a worker.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial(worker: &Candidate) -> Result<Self> {
        Self::dial_from([127, 0, 0, 1], worker).await
    }

    /// The same from an address of its own: each `127.0.x` is a network.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial_from(address: [u8; 4], worker: &Candidate) -> Result<Self> {
        let identity = Self::identity()?;
        let endpoint = Endpoint::bind((IpAddr::V4(Ipv4Addr::from(address)), 0).into(), &identity)?;
        Self::over(identity, endpoint, worker, Secrets::default()).await
    }

    /// The same with other settings of QUIC.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial_tuned(worker: &Candidate, tune: impl Fn(&mut quinn::TransportConfig)) -> Result<Self> {
        let identity = Self::identity()?;
        let endpoint = Endpoint::bind_tuned(SocketAddr::from(([127, 0, 0, 1], 0)), &identity, tune)?;
        Self::over(identity, endpoint, worker, Secrets::default()).await
    }

    /// One that lets the worker send one byte at a time.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial_with_a_window_of_one_byte(worker: &Candidate) -> Result<Self> {
        let tune = |transport: &mut quinn::TransportConfig| {
            transport.receive_window(1u32.into()).stream_receive_window(1u32.into());
        };
        Self::dial_tuned(worker, tune).await
    }

    /// Another connection of the same identity.
    ///
    /// # Errors
    /// No connection.
    pub async fn again(&self, worker: &Candidate) -> Result<Self> {
        Self::over(self.identity.clone(), self.endpoint.clone(), worker, self.secrets.clone()).await
    }

    async fn over(identity: Identity, endpoint: Endpoint, worker: &Candidate, secrets: Secrets) -> Result<Self> {
        let connection = endpoint.connect(worker.address.parse()?, worker.node).await?;
        Ok(Self { identity, endpoint, connection, secrets })
    }

    /// What the streams of a job are sealed with that it dispatched.
    ///
    /// # Errors
    /// It did not.
    pub fn secret(&self, job: OfferId) -> Result<JobSecret> {
        secret_of(&self.secrets, job)
    }

    /// The task of a query without inputs.
    pub fn task(sql: &str) -> Task {
        Self::task_on(sql, vec![])
    }

    /// The task of a query.
    pub fn task_on(sql: &str, inputs: Vec<InputEntry>) -> Task {
        Task { sql: sql.into(), inputs, time_us: 0, seed: [7; 32], salt: rand::random() }
    }

    /// The manifest's entry for the CSV file `t/N.csv` of the table `t`.
    pub fn entry(n: usize, bytes: &[u8]) -> InputEntry {
        InputEntry {
            table: "t".into(),
            file: format!("t/{n}.csv"),
            format: Format::Csv,
            size: bytes.len() as u64,
            hash: blake3::hash(bytes).into(),
        }
    }

    /// A good Offer of a task: 256 MiB, a small result, a minute.
    ///
    /// # Errors
    /// The built-in engine.
    pub fn offer(&self, task: &Task) -> Result<Offer> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Offer {
            requester: self.identity.node_id(),
            task: task.hash(),
            draw: Hash::from_bytes([0; 32]),
            class: DataClass::Public,
            engine: EngineBinary::built_in()?.hash,
            profile: Variant::Plain.profile().into(),
            limits: Limits { memory: 256 << 20, result: 64 << 20, run_ms: 60_000, fuel: None },
            inputs: InputsSummary {
                count: u32::try_from(task.inputs.len())?,
                bytes: task.inputs.iter().fold(0, |sum, i| sum.wrapping_add(i.size)),
            },
            attest: None,
            issued_at: i64::try_from(now)?,
            valid_s: 60,
            nonce: rand::random(),
        })
    }

    /// The same, changed and signed.
    ///
    /// # Errors
    /// As [`Stranger::offer`].
    pub fn offer_with(&self, task: &Task, change: impl FnOnce(&mut Offer)) -> Result<Signed<Offer>> {
        let mut offer = self.offer(task)?;
        change(&mut offer);
        Ok(self.sign(offer))
    }

    /// Signs as itself.
    pub fn sign<T: Body>(&self, message: T) -> Signed<T> {
        Signed::sign(&self.identity, Version::LATEST, message)
    }

    /// The payload of a signed message whose body is changed, and which is signed again, in a domain such as `eider/3 offer`.
    ///
    /// # Errors
    /// A message that is built otherwise than this expects.
    pub fn signed_again<T: Body>(
        &self,
        signed: &Signed<T>,
        domain: &str,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>> {
        // CBOR: ..., the signature's 64 bytes, the text `body`, the body as bytes with a length of one or two bytes.
        let payload = signed.to_payload();
        let at = payload.windows(5).position(|w| w == b"dbody").context("no body")?;
        let header = if payload[at + 5] == 0x58 { 2 } else { 3 };
        let mut body = payload[at + 5 + header..].to_vec();
        change(&mut body);
        let length = u32::try_from(body.len())?.to_be_bytes();
        let signature = self.identity.sign(&[domain.as_bytes(), b"\0", &length, &body].concat());
        Ok([&payload[..at - 64], &signature, b"dbody\x59", &length[2..], &body].concat())
    }

    /// A frame of this kind that claims a length, and what is there of its payload.
    pub fn frame(kind: u8, length: usize, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        [&[kind], &length[..], payload].concat()
    }

    /// The frame of a signed message.
    pub fn frame_of<T: Body>(signed: &Signed<T>) -> Vec<u8> {
        let payload = signed.to_payload();
        Self::frame(T::KIND as u8, payload.len(), &payload)
    }

    /// Opens a stream and writes bytes on it, whatever they are.
    ///
    /// # Errors
    /// The stream.
    pub async fn says(&self, bytes: Vec<u8>) -> Result<JobStream> {
        let mut stream = self.connection.open().await?;
        stream.sender.bytes(bytes.into()).await?;
        Ok(stream)
    }

    /// The code with which these bytes, and the stream's end after them, are refused at once.
    ///
    /// # Errors
    /// An answer.
    pub async fn refused(&self, bytes: Vec<u8>) -> Result<ResetCode> {
        let mut stream = self.says(bytes).await?;
        stream.sender.finish().await;
        Self::refusal(&mut stream).await
    }

    /// The code that a stream is reset with, on which nothing comes before that.
    ///
    /// # Errors
    /// An answer, or none in 30 s.
    pub async fn refusal(stream: &mut JobStream) -> Result<ResetCode> {
        let answer = tokio::time::timeout(Duration::from_secs(30), stream.receiver.frame_of(Kind::ALL)).await;
        match answer.context("no reset")? {
            Err(StreamError::Reset(code)) => Ok(code),
            Ok(Some(frame)) => bail!("the answer is a {}", frame.kind),
            other => bail!("the stream ended with {other:?}"),
        }
    }

    /// Says a thousand times, on streams of their own, that a frame of this kind comes: each must be refused for its header alone.
    ///
    /// # Errors
    /// Another answer.
    pub async fn floods(town: &Town, kind: Kind) -> Result<()> {
        const AT_A_TIME: usize = 50;
        let stranger = Self::dial(&town.worker(0)).await?;
        for _ in 0..1000 / AT_A_TIME {
            let mut streams = vec![];
            for _ in 0..AT_A_TIME {
                streams.push(stranger.says(Self::frame(kind as u8, kind.max_bytes(), &[])).await?);
            }
            for stream in &mut streams {
                let code = Self::refusal(stream).await?;
                ensure!(code == ResetCode::Unexpected, "reset as {code}");
            }
        }
        Ok(())
    }

    /// Offers a task and reads the Bid: the stream, the job's id and the Bid.
    ///
    /// # Errors
    /// No Bid.
    pub async fn bid(&self, offer: &Signed<Offer>) -> Result<(JobStream, OfferId, Bid)> {
        let mut stream = self.connection.open().await?;
        stream.sender.send(offer).await?;
        let frame = stream.receiver.expect_of(&[Kind::Bid]).await?;
        let bid = frame.open::<Bid>(Version::LATEST, self.connection.node())?;
        let id = OfferId::from_bytes(*offer.content_hash().as_bytes());
        Ok((stream, id, bid.message().clone()))
    }

    /// The same with a Bid in favour.
    ///
    /// # Errors
    /// Another Bid.
    pub async fn accepted(&self, offer: &Signed<Offer>) -> Result<(JobStream, OfferId, Bid)> {
        let bid = self.bid(offer).await?;
        if let Err(decline) = &bid.2.answer {
            bail!("declined: {}", decline.detail);
        }
        Ok(bid)
    }

    /// The reason for which an Offer is declined.
    ///
    /// # Errors
    /// A Bid in favour.
    pub async fn declined(&self, offer: &Signed<Offer>) -> Result<DeclineReason> {
        match self.bid(offer).await?.2.answer {
            Err(decline) => Ok(decline.reason),
            Ok(_) => bail!("the bid is in favour"),
        }
    }

    /// Waits until the worker would run as many jobs of this requester as it may have: nothing that it had is left.
    ///
    /// # Errors
    /// Something is, after five seconds.
    pub async fn is_free(&self) -> Result<()> {
        let mut last = None;
        for _ in 0..100 {
            let (mut stream, _, bid) = self.bid(&self.offer_with(&Self::task("SELECT 1"), |_| {})?).await?;
            stream.reset(ResetCode::Cancelled);
            if bid.answer.as_ref().is_ok_and(|a| a.free_jobs >= Self::PER_REQUESTER) {
                return Ok(());
            }
            last = Some(bid.answer);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("what the stranger had was not given back: {last:?}")
    }

    /// The Dispatch of a task to who made the Bid.
    ///
    /// # Errors
    /// A sealing key that is none.
    pub fn dispatch(&self, id: OfferId, bid: &Bid, task: &Task) -> Result<Signed<Dispatch>> {
        let (dispatch, secret) = task.seal(id, self.connection.node(), bid.sealing, None)?;
        self.secrets.lock().map_err(|e| anyhow::anyhow!("{e}"))?.insert(id, secret);
        Ok(self.sign(dispatch))
    }

    /// Sends it; all that follows on the stream is sealed.
    ///
    /// # Errors
    /// As [`Stranger::dispatch`]; the stream.
    pub async fn dispatches(&self, stream: &mut JobStream, id: OfferId, bid: &Bid, task: &Task) -> Result<()> {
        let dispatch = self.dispatch(id, bid, task)?;
        self.sends(stream, &dispatch).await
    }

    /// The same with a Dispatch that was made before.
    ///
    /// # Errors
    /// As [`Stranger::dispatches`].
    pub async fn sends(&self, stream: &mut JobStream, dispatch: &Signed<Dispatch>) -> Result<()> {
        let secret = self.secret(dispatch.message().offer)?;
        stream.sender.send(dispatch).await?;
        stream.sender.seal(secret.dispatcher(), None);
        stream.receiver.unseal_answer(&secret, Lane::Job, secret.salt());
        Ok(())
    }

    /// Offers and dispatches a task; the stream that its Commit will come on.
    ///
    /// # Errors
    /// A Bid that is none, or declines.
    pub async fn run(&self, task: &Task) -> Result<(JobStream, OfferId)> {
        self.run_with(task, |_| {}).await
    }

    /// The same with a changed Offer.
    ///
    /// # Errors
    /// As [`Stranger::run`].
    pub async fn run_with(&self, task: &Task, change: impl FnOnce(&mut Offer)) -> Result<(JobStream, OfferId)> {
        let (mut stream, id, bid) = self.accepted(&self.offer_with(task, change)?).await?;
        self.dispatches(&mut stream, id, &bid, task).await?;
        Ok((stream, id))
    }

    /// Has a query run, and waits for its Commit.
    ///
    /// # Errors
    /// No Commit.
    pub async fn committed(&self, sql: &str) -> Result<(JobStream, Commit)> {
        let (mut stream, _) = self.run(&Self::task(sql)).await?;
        let commit = self.commit(&mut stream).await?;
        Ok((stream, commit))
    }

    /// The Commit on a job's stream, past all Progress.
    ///
    /// # Errors
    /// How the stream ended instead.
    pub async fn commit(&self, stream: &mut JobStream) -> Result<Commit> {
        loop {
            let frame = stream.receiver.expect_of(&[Kind::Progress, Kind::Commit]).await?;
            if frame.kind == Kind::Commit {
                return Ok(frame.open::<Commit>(Version::LATEST, self.connection.node())?.message().clone());
            }
        }
    }

    /// The Settle that belongs to a Commit.
    pub fn settle_of(&self, commit: &Commit) -> Settle {
        Settle {
            offer: commit.offer,
            task: commit.task,
            price: commit.price,
            worker: self.connection.node(),
            verdict: Verdict::Agreed,
            digest: commit.outcome.digest(),
        }
    }

    /// Settles a job, and reads the receipt.
    ///
    /// # Errors
    /// No receipt, or another.
    pub async fn settle(&self, stream: &mut JobStream, commit: &Commit) -> Result<()> {
        let settle = self.settle_of(commit);
        stream.sender.send(&self.sign(settle.clone())).await?;
        let frame = stream.receiver.expect_of(&[Kind::Settle]).await?;
        let receipt = frame.open::<Settle>(Version::LATEST, self.connection.node())?;
        ensure!(*receipt.message() == settle, "the receipt is for {:?}", receipt.message());
        Ok(())
    }

    /// Has a job settled by a word that is not its Commit's: it is refused as malformed, and its result is gone.
    ///
    /// # Errors
    /// Another answer.
    pub async fn settles_wrongly(town: &Town, change: impl FnOnce(&mut Settle)) -> Result<()> {
        let stranger = Self::dial(&town.worker(0)).await?;
        let (mut stream, commit) = stranger.committed("SELECT 1").await?;
        let mut settle = stranger.settle_of(&commit);
        change(&mut settle);
        stream.sender.send(&stranger.sign(settle)).await?;
        let code = Self::refusal(&mut stream).await?;
        ensure!(code == ResetCode::Malformed, "reset as {code}");
        let code = stranger.unverified(&commit, 0).await?;
        ensure!(code == ResetCode::WrongPeer, "its result is refused as {code}");
        stranger.is_free().await
    }

    /// Root and length of the result that was committed to.
    ///
    /// # Errors
    /// There is none.
    pub fn root(commit: &Commit) -> Result<(Hash, u64)> {
        match commit.outcome {
            Outcome::Completed { root, length, .. } => Ok((root, length)),
            Outcome::Failed { .. } => bail!("{:?}", commit.outcome),
        }
    }

    /// Asks for a result from an offset on; the stream that it comes on.
    ///
    /// # Errors
    /// The stream.
    pub async fn verify(&self, commit: &Commit, offset: u64) -> Result<JobStream> {
        let (root, _) = Self::root(commit)?;
        self.verify_by(Verify { offer: commit.offer, root, offset }).await
    }

    /// The same in its own words.
    ///
    /// # Errors
    /// The stream; a job that it did not dispatch.
    pub async fn verify_by(&self, verify: Verify) -> Result<JobStream> {
        let mut stream = self.connection.open().await?;
        stream.ask(&self.secret(verify.offer)?, Lane::Verify)?;
        stream.sender.send(&self.sign(verify)).await?;
        Ok(stream)
    }

    /// The code with which a result is refused.
    ///
    /// # Errors
    /// Its bytes come.
    pub async fn unverified(&self, commit: &Commit, offset: u64) -> Result<ResetCode> {
        Self::refusal(&mut self.verify(commit, offset).await?).await
    }

    /// The code with which a delivery ends, whatever came of it.
    ///
    /// # Errors
    /// It ends well.
    pub async fn ended(delivery: &mut JobStream) -> Result<ResetCode> {
        loop {
            match delivery.receiver.bytes().await {
                Ok(Some(_)) => {}
                Ok(None) => bail!("the delivery is complete"),
                Err(StreamError::Reset(code)) => return Ok(code),
                Err(e) => bail!("{e}"),
            }
        }
    }

    /// A result from an offset on, read and checked.
    ///
    /// # Errors
    /// How it ended instead.
    pub async fn result(&self, commit: &Commit, offset: u64) -> Result<Vec<u8>> {
        Self::read(self.verify(commit, offset).await?, commit, offset).await
    }

    /// Reads and checks what comes on the stream of a Verify.
    ///
    /// # Errors
    /// How it ended instead.
    pub async fn read(mut stream: JobStream, commit: &Commit, offset: u64) -> Result<Vec<u8>> {
        let (root, length) = Self::root(commit)?;
        let mut bytes = Gathered::default();
        let pace = Pace { least: 1, within: Duration::from_secs(30) };
        eider_net::receive(&mut stream.receiver, root.into(), length, (offset, length), &mut bytes, pace).await?;
        Ok(bytes.0)
    }

    /// The code that a stream is reset with; Progress and other frames on the way are passed over.
    ///
    /// # Errors
    /// A stream that ends otherwise, or not in 30 s.
    pub async fn reset_of(stream: &mut JobStream) -> Result<ResetCode> {
        let read = async {
            loop {
                match stream.receiver.frame_of(Kind::ALL).await {
                    Ok(Some(frame)) if frame.kind == Kind::Commit => bail!("it was committed to"),
                    Ok(Some(_)) => {}
                    Ok(None) => bail!("the stream was finished"),
                    Err(StreamError::Reset(code)) => return Ok(code),
                    Err(e) => bail!("{e}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read).await.context("no reset")?
    }

    /// Bytes of memory of the worker that strangers ask.
    pub fn memory_of_its_worker(town: &Town) -> u64 {
        memory(town.grid.pid(0), "RssAnon")
    }

    /// Serves these inputs as they should be, until what is returned is dropped.
    pub fn serves(&self, inputs: Vec<Vec<u8>>) -> Served {
        self.serve(inputs, Serving::Rightly)
    }

    /// Serves them with the last byte changed.
    pub fn serves_wrong_bytes(&self, inputs: Vec<Vec<u8>>) -> Served {
        self.serve(inputs, Serving::Wrongly)
    }

    /// Takes each Fetch and never answers.
    pub fn serves_never(&self) -> Served {
        self.serve(vec![], Serving::Never)
    }

    /// Answers each Fetch with a byte each twentieth of a second.
    pub fn serves_by_drops(&self) -> Served {
        self.serve(vec![], Serving::ByDrops)
    }

    /// Ends the stream of each Fetch before its first byte.
    pub fn serves_nothing(&self) -> Served {
        self.serve(vec![], Serving::Nothing)
    }

    /// Resets the stream of each Fetch.
    pub fn serves_resets(&self, code: ResetCode) -> Served {
        self.serve(vec![], Serving::Reset(code))
    }

    fn serve(&self, inputs: Vec<Vec<u8>>, how: Serving) -> Served {
        let (asked, connection, inputs) = (Arc::new(AtomicUsize::new(0)), self.connection.clone(), Arc::new(inputs));
        let (counted, secrets, mut task) = (asked.clone(), self.secrets.clone(), JoinSet::new());
        task.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok(mut stream) = connection.accept().await {
                let Ok(fetch) = question(&mut stream, &secrets).await else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                let inputs = inputs.clone();
                streams.spawn(async move {
                    let _ = how.answer(stream, &fetch, &inputs).await;
                });
            }
        });
        Served { asked, _task: task }
    }

    /// An honest job on a file, while a stranger names its hash with another size on one of the workers, and serves the file so.
    ///
    /// # Errors
    /// The honest result is another, or the stranger has one.
    pub async fn misnames(town: &Town, change: impl Fn(&mut Vec<u8>)) -> Result<()> {
        let victim = Victim::new()?;
        let stranger = Self::dial(&town.worker(0)).await?;
        let (mut bytes, hash) = (victim.bytes.clone(), blake3::hash(&victim.bytes).into());
        change(&mut bytes);
        let served = stranger.serves(vec![bytes.clone()]);
        let attack = async || {
            let task = Self::task_on(Victim::SQL, vec![InputEntry { hash, ..Self::entry(0, &bytes) }]);
            let (mut stream, _) = stranger.run(&task).await?;
            let code = Self::reset_of(&mut stream).await?;
            ensure!(code == ResetCode::InputUnavailable, "reset as {code}");
            Ok(())
        };
        attack().await?;
        victim.runs(town).await?;
        let (attacked, right) = tokio::join!(attack(), victim.runs(town));
        right.and(attacked)?;
        ensure!(served.asked() > 0, "nothing was fetched of it");
        victim.runs(town).await?;
        stranger.is_free().await
    }

    /// A file of an honest requester, which nobody else has.
    ///
    /// # Errors
    /// The disk.
    pub fn victim() -> Result<Victim> {
        Victim::new()
    }
}

/// An honest requester's file of some MB, different each time.
pub struct Victim {
    file: tempfile::NamedTempFile,
    /// What is in it.
    pub bytes: Vec<u8>,
    answer: String,
}

impl Victim {
    /// What is asked of it.
    pub const SQL: &'static str = "SELECT count(*), sum(a), min(b) FROM t";

    fn new() -> Result<Self> {
        let (rows, secret) = (200_000u64, rand::random::<u32>());
        let mut bytes = b"a,b\n".to_vec();
        for a in 0..rows {
            io::Write::write_fmt(&mut bytes, format_args!("{a},{secret}\n"))?;
        }
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile()?;
        io::Write::write_all(&mut file, &bytes)?;
        let answer = format!("{rows},{},{secret}\n", rows * (rows - 1) / 2);
        Ok(Self { file, bytes, answer })
    }

    /// Its owner's job on all three workers, who must all agree and be right.
    ///
    /// # Errors
    /// What was not so.
    pub async fn runs(&self, town: &Town) -> Result<()> {
        let ran = town.grid.run(&Job::new(Self::SQL).of(3, 3).input("t", self.file.path())).await?;
        let fates: Vec<_> = ran.record.peers.iter().map(|p| p.fate.to_string()).collect();
        ensure!(ran.record.end.word() == "verified", "{}: {}; {fates:?}", ran.record.end, ran.record.reason);
        ensure!(ran.csv()? == self.answer, "{} and not {}", ran.csv()?, self.answer);
        ensure!(ran.record.peers.iter().all(|p| !p.at_fault), "an honest worker was blamed: {fates:?}");
        Ok(())
    }
}

/// How a stranger answers the Fetches of a worker.
#[derive(Clone, Copy, Debug)]
enum Serving {
    Rightly,
    Wrongly,
    Never,
    ByDrops,
    Nothing,
    Reset(ResetCode),
}

impl Serving {
    async fn answer(self, mut stream: JobStream, fetch: &Fetch, inputs: &[Vec<u8>]) -> Result<()> {
        match self {
            Self::Never => std::future::pending().await,
            Self::Nothing => stream.sender.finish().await,
            Self::Reset(code) => stream.reset(code),
            Self::ByDrops => loop {
                stream.sender.bytes(vec![0].into()).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            },
            Self::Rightly | Self::Wrongly => {
                let mut bytes = inputs.get(fetch.index as usize).context("no such input")?.clone();
                let outboard = Arc::new(file_outboard(&mut &bytes[..], bytes.len() as u64)?);
                if let (Self::Wrongly, Some(last)) = (self, bytes.last_mut()) {
                    *last ^= 1;
                }
                let source = Source { bytes: Arc::new(bytes), outboard, checked: false };
                let pace = Pace { least: 1, within: Duration::from_secs(10) };
                eider_net::send(&mut stream.sender, &source, fetch.start, fetch.end, pace).await?;
                stream.sender.finish().await;
                stream.sender.delivered().await;
            }
        }
        Ok(())
    }
}

/// A stranger serves inputs for as long as this lives.
pub struct Served {
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Served {
    /// Fetches that came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn secret_of(secrets: &Secrets, job: OfferId) -> Result<JobSecret> {
    let secrets = secrets.lock().map_err(|e| anyhow::anyhow!("{e}"))?;
    secrets.get(&job).cloned().context("it has dispatched no such job")
}

/// What a worker asks for on a stream.
async fn question(stream: &mut JobStream, secrets: &Secrets) -> Result<Fetch> {
    let announced = stream.receiver.expect_of(&[Kind::Sealed]).await?.sealed()?;
    stream.asked(&secret_of(secrets, announced.offer)?, Lane::Fetch, &announced)?;
    Ok(Fetch::decode(&stream.receiver.expect_of(&[Kind::Fetch]).await?.payload)?)
}

/// Verified bytes, in order.
#[derive(Default)]
struct Gathered(Vec<u8>);

impl BlobSink for Gathered {
    async fn write(&mut self, _: u64, bytes: Bytes) -> io::Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }
}

/// Plays a behaviour against the neighbourhood, while the honest requester's jobs go on; then everything is at rest again.
///
/// # Errors
/// What the neighbour saw of it, or what the behaviour did not get as it expects.
pub fn asks<F: Future<Output = Result<()>>>(play: impl FnOnce(&'static Town) -> F) -> Result<()> {
    let (here, _alone) = Town::enter()?;
    Town::runtime().block_on(beside(here, play))
}

async fn beside<F: Future<Output = Result<()>>>(
    here: &'static Town,
    play: impl FnOnce(&'static Town) -> F,
) -> Result<()> {
    here.neighbour().await.context("before the stranger came")?;
    let rest = here.at_rest().await;
    let over = AtomicBool::new(false);
    let stranger = async {
        let played = tokio::time::timeout(PLAYS, play(here)).await;
        over.store(true, Ordering::Relaxed);
        played.context("the behaviour did not end")?
    };
    let neighbour = async {
        while !over.load(Ordering::Relaxed) {
            here.neighbour().await?;
        }
        here.neighbour().await
    };
    let (stranger, neighbour) = tokio::join!(stranger, neighbour);
    neighbour?;
    stranger?;
    here.back_at(&rest).await;
    here.neighbour().await.context("after the stranger had gone")
}
