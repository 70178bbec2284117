//! Strangers that play workers against a requester.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eider_core::Plan;
use eider_net::{BlobError, ConnectError, Connection, Endpoint, IncomingConnection, Pace, Source, file_outboard};
use quinn::rustls;
use quinn::rustls::DigitallySignedStruct;
use quinn::rustls::client::danger::HandshakeSignatureValid;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use quinn::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Job, request_of};
use eider_node::{Candidate, JobRecord, MemorySink, Notice, Requester};

/// Longest that a stranger may play on when its job has ended.
const PLAYS_ON: Duration = Duration::from_secs(40);
/// How long a stranger waits for the job's stream: its job may be over before it is asked.
const ASKED: Duration = Duration::from_secs(5);
/// Characters of a fate: a stranger's words, and ours around them.
const FATE_MAX: usize = 2_000;
/// The pace of a peer that may take its time.
pub const PATIENT: Pace = Pace { least: 1, within: Duration::from_secs(60) };
/// DER before the 32 bytes of an Ed25519 key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER before the 32 bytes of an Ed25519 seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What a stranger does with each who dials it.
pub type Play = fn(Caller) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Who a stranger is, and what it knows.
#[derive(Clone)]
pub struct Role {
    /// Its key.
    pub identity: Identity,
    /// Which of its behaviour's strangers it is, counted over all jobs.
    pub number: usize,
    /// The neighbourhood.
    pub town: &'static Town,
    truth: (Outcome, Arc<Vec<u8>>),
    sealing: Arc<SealingKey>,
}

impl Role {
    /// Signs as itself.
    pub fn sign<T: Body>(&self, message: T) -> Signed<T> {
        Signed::sign(&self.identity, Version::LATEST, message)
    }

    /// The payload of any body under a good signature of its own.
    pub fn envelope(&self, kind: Kind, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let input = [format!("{} {kind}\0", Version::LATEST).as_bytes(), &length, body].concat();
        // CBOR: a map of three texts to byte strings.
        let mut payload = b"\xa3\x63key\x58\x20".to_vec();
        payload.extend_from_slice(self.identity.public().as_bytes());
        payload.extend_from_slice(b"\x69signature\x58\x40");
        payload.extend_from_slice(&self.identity.sign(&input));
        payload.extend_from_slice(b"\x64body\x5a");
        payload.extend_from_slice(&length);
        payload.extend_from_slice(body);
        payload
    }

    /// A good Bid in favour.
    pub fn bid_for(&self, offer: OfferId) -> Bid {
        let accept = Accept { eta_ms: 0, price: 0, free_memory: 8 << 30, free_jobs: 8 };
        Bid { offer, answer: Ok(accept), sealing: self.sealing.public(), evidence: None }
    }

    /// What an honest worker would commit to, and the result's bytes.
    pub fn truth(&self) -> (Outcome, Arc<Vec<u8>>) {
        self.truth.clone()
    }

    /// A lie that looks like the truth; another one for each number.
    pub fn lie_number(&self, n: usize) -> Outcome {
        let mut outcome = self.truth.0.clone();
        if let Outcome::Completed { root, .. } = &mut outcome {
            *root = blake3::hash(&n.to_be_bytes()).into();
        }
        outcome
    }

    /// A lie that looks like the truth, the same for all strangers.
    pub fn lie(&self) -> Outcome {
        self.lie_number(0)
    }

    /// What to stream from: these bytes, with the tree of the truth.
    ///
    /// # Errors
    /// None that memory has.
    pub fn source(&self, bytes: Vec<u8>) -> Result<Source> {
        let truth = &self.truth.1;
        let outboard = file_outboard(&mut &truth[..], truth.len() as u64)?;
        Ok(Source { bytes: Arc::new(bytes), outboard: Arc::new(outboard), checked: false })
    }
}

/// The body in the payload of a signed message without extensions.
///
/// # Errors
/// There is none.
pub fn body_of(payload: &[u8]) -> Result<&[u8]> {
    const KEY: &[u8] = b"\x64body";
    let at = payload.windows(KEY.len()).position(|w| w == KEY).context("no body")? + KEY.len();
    let header = match payload.get(at) {
        Some(0x40..=0x57) => 1,
        Some(0x58) => 2,
        Some(0x59) => 3,
        Some(0x5a) => 5,
        other => bail!("a body that begins with {other:?}"),
    };
    payload.get(at + header..).context("a body that is cut")
}

/// Who dials a stranger and has no answer yet. Dropping it says no.
pub struct Caller {
    first_packet: FirstPacket,
    role: Role,
}

enum FirstPacket {
    Net(IncomingConnection),
    Raw(quinn::Incoming),
}

/// A connection of which the stranger has not taken a stream yet.
pub struct Guest {
    /// With the requester.
    pub connection: Connection,
    role: Role,
}

/// One stream that a requester opened to a stranger, which answers by hand. Verify streams come to it by [`Call::verified`].
pub struct Call {
    /// With the requester.
    pub connection: Connection,
    /// The job's stream.
    pub stream: JobStream,
    /// The Offer that came on it.
    pub offer: Signed<Offer>,
    /// What the job's streams are sealed with, once it has its task.
    secret: Option<JobSecret>,
    role: Role,
}

/// A connection of plain QUIC, whose windows the head says.
pub struct Raw {
    /// With the requester.
    pub connection: quinn::Connection,
    role: Role,
}

/// A stream of plain QUIC.
pub struct RawStream {
    /// What is written.
    pub send: quinn::SendStream,
    /// What is read.
    pub recv: quinn::RecvStream,
    /// What seals what is written, once there is a task; with what announces it, until that has left.
    sealer: Option<(Option<Sealed>, Sealer)>,
}

macro_rules! has_role {
    ($($name:ident),*) => { $(
        impl Deref for $name {
            type Target = Role;
            fn deref(&self) -> &Role {
                &self.role
            }
        }
    )* };
}
has_role!(Caller, Guest, Call, Raw);

impl Caller {
    /// Makes the handshake.
    ///
    /// # Errors
    /// The handshake.
    pub async fn meet(self) -> Result<Guest> {
        match self.first_packet {
            FirstPacket::Net(incoming) => Ok(Guest { connection: Endpoint::finish(incoming).await?, role: self.role }),
            FirstPacket::Raw(_) => bail!("the head wants raw QUIC"),
        }
    }

    /// Makes the handshake, takes the job's stream and reads the Offer.
    ///
    /// # Errors
    /// Handshake or stream.
    pub async fn call(self) -> Result<Call> {
        self.meet().await?.call().await
    }

    /// Makes the handshake of raw QUIC.
    ///
    /// # Errors
    /// The handshake.
    pub async fn raw(self) -> Result<Raw> {
        match self.first_packet {
            FirstPacket::Raw(incoming) => Ok(Raw { connection: incoming.await?, role: self.role }),
            FirstPacket::Net(_) => bail!("the head does not want raw QUIC"),
        }
    }
}

impl Guest {
    /// Takes the job's stream and reads the Offer.
    ///
    /// # Errors
    /// The stream; none is opened in five seconds.
    pub async fn call(self) -> Result<Call> {
        let opened = tokio::time::timeout(ASKED, self.connection.accept()).await;
        let mut stream = opened.map_err(|_| StreamError::Stalled)??;
        let frame = stream.receiver.expect_of(&[Kind::Offer]).await?;
        let offer = frame.open::<Offer>(Version::LATEST, self.connection.node())?;
        Ok(Call { connection: self.connection, stream, offer, secret: None, role: self.role })
    }
}

impl Call {
    /// The next stream with an Offer on this connection: who is busy is asked again.
    ///
    /// # Errors
    /// The connection; nobody has asked for five seconds.
    pub async fn again(self) -> Result<Self> {
        Guest { connection: self.connection, role: self.role }.call().await
    }

    /// The job.
    pub fn id(&self) -> OfferId {
        OfferId::from_bytes(*self.offer.content_hash().as_bytes())
    }

    /// A good Bid in favour.
    pub fn good_bid(&self) -> Bid {
        self.bid_for(self.id())
    }

    /// Bids, as an honest worker would.
    ///
    /// # Errors
    /// The stream.
    pub async fn bid(&mut self) -> Result<()> {
        self.say(self.good_bid()).await
    }

    /// Signs a message and sends it.
    ///
    /// # Errors
    /// The stream.
    pub async fn say<T: Body>(&mut self, message: T) -> Result<()> {
        let signed = self.sign(message);
        Ok(self.stream.sender.send(&signed).await?)
    }

    /// Waits for the Dispatch and opens it.
    ///
    /// # Errors
    /// The stream; who is not chosen is reset.
    pub async fn task(&mut self) -> Result<Task> {
        self.task_for(None).await
    }

    /// The same, where evidence with this hash was shown.
    ///
    /// # Errors
    /// As [`Call::task`].
    pub async fn task_for(&mut self, shown: Option<Hash>) -> Result<Task> {
        let frame = self.stream.receiver.expect_of(&[Kind::Dispatch]).await?;
        let dispatch = frame.open::<Dispatch>(Version::LATEST, self.connection.node())?;
        let (task, secret) = self.sealing.open(dispatch.message(), shown)?;
        self.stream.receiver.unseal(secret.of_dispatcher());
        let (announced, sealer) = secret.worker()?;
        self.stream.sender.seal(sealer, Some(announced));
        self.secret = Some(secret);
        Ok(task)
    }

    /// What the job's streams are sealed with.
    ///
    /// # Errors
    /// It has not got its task.
    pub fn secret(&self) -> Result<&JobSecret> {
        self.secret.as_ref().context("it has no task yet")
    }

    /// Says that it works.
    ///
    /// # Errors
    /// The stream.
    pub async fn progress(&mut self) -> Result<()> {
        let progress = Progress { stage: Stage::Running, done: 1, bytes_read: 0 };
        Ok(self.stream.sender.frame(Kind::Progress, &progress.to_payload()).await?)
    }

    /// A Commit to an outcome.
    pub fn commit_to(&self, outcome: Outcome) -> Commit {
        Commit { offer: self.id(), task: self.offer.message().task, price: 0, outcome }
    }

    /// Commits to an outcome.
    ///
    /// # Errors
    /// The stream.
    pub async fn commit(&mut self, outcome: Outcome) -> Result<()> {
        self.say(self.commit_to(outcome)).await
    }

    /// Commits to the truth.
    ///
    /// # Errors
    /// The stream.
    pub async fn commit_truly(&mut self) -> Result<()> {
        self.commit(self.truth().0).await
    }

    /// The next stream that the requester opens on this connection: a Verify, and what to stream it from.
    ///
    /// # Errors
    /// The connection; the job is over and nobody has asked.
    pub async fn verified(&mut self) -> Result<(JobStream, Verify, Source)> {
        let over = async { while let Ok(Some(_)) = self.stream.receiver.frame_of(Kind::ALL).await {} };
        let mut stream = tokio::select! {
            biased;
            stream = self.connection.accept() => stream?,
            () = over => return Err(StreamError::Ended.into()),
        };
        let announced = stream.receiver.expect_of(&[Kind::Sealed]).await?.sealed()?;
        stream.asked(self.secret()?, Lane::Verify, &announced)?;
        let frame = stream.receiver.expect_of(&[Kind::Verify]).await?;
        let verify = frame.open::<Verify>(Version::LATEST, self.connection.node())?.message().clone();
        Ok((stream, verify, self.source(self.truth().1.to_vec())?))
    }

    /// Bids, takes the task, commits to the truth before anybody else can, and is asked for the result.
    ///
    /// # Errors
    /// The stream.
    pub async fn first_of_all(&mut self) -> Result<(JobStream, Verify, Source)> {
        self.bid().await?;
        self.task().await?;
        self.commit_truly().await?;
        self.verified().await
    }

    /// Commits to the truth, delivers it if that is wanted, and stays until the job is over.
    ///
    /// # Errors
    /// The stream.
    pub async fn end_truly(&mut self) -> Result<()> {
        self.commit_truly().await?;
        // Where another delivers, the job's stream ends first.
        let Ok((mut stream, verify, source)) = self.verified().await else { return Ok(()) };
        let length = self.truth().1.len() as u64;
        eider_net::send(&mut stream.sender, &source, verify.offset, length, PATIENT).await?;
        stream.sender.finish().await;
        self.until_reset().await;
        Ok(())
    }

    /// The Settle that ends the job.
    ///
    /// # Errors
    /// The stream.
    pub async fn settled(&mut self) -> Result<Settle> {
        let frame = self.stream.receiver.expect_of(&[Kind::Settle]).await?;
        Ok(frame.open::<Settle>(Version::LATEST, self.connection.node())?.message().clone())
    }

    /// Waits until the requester ends the job's stream.
    pub async fn until_reset(&mut self) {
        while let Ok(Some(_)) = self.stream.receiver.frame_of(Kind::ALL).await {}
    }

    /// Asks the requester for a range of an input of this job.
    ///
    /// # Errors
    /// The connection.
    pub async fn fetch(&self, index: u32, start: u64, end: u64) -> Result<JobStream> {
        let fetch = Fetch { offer: self.id(), index, start, end };
        self.fetch_by(Kind::Fetch, &fetch.to_payload()).await
    }

    /// Opens a stream to the requester, with any frame on it: sealed, if it has its task.
    ///
    /// # Errors
    /// The connection.
    pub async fn fetch_by(&self, kind: Kind, payload: &[u8]) -> Result<JobStream> {
        let mut stream = self.connection.open().await?;
        if let Some(secret) = &self.secret {
            stream.ask(secret, Lane::Fetch)?;
        }
        stream.sender.frame(kind, payload).await?;
        Ok(stream)
    }

    /// Opens a stream to the requester that announces a sealed question of a job, and goes on with what has no seal.
    ///
    /// # Errors
    /// The connection.
    pub async fn announce(&self, offer: OfferId) -> Result<JobStream> {
        let announced = encode_frame(Kind::Sealed, &Sealed { offer, salt: [7; 32] }.to_payload())?;
        let mut stream = self.connection.open().await?;
        stream.sender.bytes([&announced, &[0; 64][..]].concat().into()).await?;
        Ok(stream)
    }

    /// All that comes on a stream, less its seals: how many bytes, and the code that it was reset with, if it was.
    ///
    /// # Errors
    /// The connection.
    pub async fn drain(mut stream: JobStream) -> Result<(u64, Option<ResetCode>)> {
        let mut bytes = 0;
        loop {
            match stream.receiver.bytes().await {
                Ok(Some(more)) => bytes += more.len() as u64,
                Ok(None) => return Ok((bytes, None)),
                Err(StreamError::Reset(code)) => return Ok((bytes, Some(code))),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Raw {
    /// Takes the job's stream and reads the Offer: whose it is, and the job's id with it.
    ///
    /// # Errors
    /// The stream.
    pub async fn call(&self) -> Result<(RawStream, OfferId, Offer)> {
        let (send, recv) = self.connection.accept_bi().await?;
        let mut stream = RawStream { send, recv, sealer: None };
        let payload = stream.read().await?;
        let key = payload.get(7..39).context("no key")?.try_into()?;
        let offer = Signed::<Offer>::open(&payload, Version::LATEST, PublicKey::from_bytes(key).node_id())?;
        Ok((stream, OfferId::from_bytes(*offer.content_hash().as_bytes()), offer.message().clone()))
    }
}

impl Raw {
    /// Takes the Dispatch that comes for an Offer; what is said from here on is sealed.
    ///
    /// # Errors
    /// The stream.
    pub async fn task(&self, stream: &mut RawStream, offer: &Offer) -> Result<Task> {
        let dispatch = Signed::<Dispatch>::open(&stream.read().await?, Version::LATEST, offer.requester)?;
        let (task, secret) = self.sealing.open(dispatch.message(), None)?;
        let (announced, sealer) = secret.worker()?;
        stream.sealer = Some((Some(announced), sealer));
        Ok(task)
    }
}

impl RawStream {
    /// The next frame's payload, in clear.
    ///
    /// # Errors
    /// The stream.
    pub async fn read(&mut self) -> Result<Vec<u8>> {
        let mut header = [0; HEADER_BYTES];
        self.recv.read_exact(&mut header).await?;
        let mut payload = vec![0; FrameHeader::parse(header)?.length];
        self.recv.read_exact(&mut payload).await?;
        Ok(payload)
    }

    /// Sends a signed message.
    ///
    /// # Errors
    /// The stream.
    pub async fn say<T: Body>(&mut self, message: &Signed<T>) -> Result<()> {
        let mut frame = encode_frame(T::KIND, &message.to_payload())?;
        if let Some((announced, sealer)) = &mut self.sealer {
            let clear = std::mem::take(&mut frame);
            if let Some(announced) = announced.take() {
                frame = encode_frame(Kind::Sealed, &announced.to_payload())?;
            }
            sealer.seal(&clear, &mut frame)?;
        }
        Ok(self.send.write_all(&frame).await?)
    }
}

/// How all plays of a behaviour ended, in the order of their beginning; none yet for those under way.
type Ledger = Arc<Mutex<Vec<Option<Result<()>>>>>;

/// A behaviour, and where the ends of its plays are written down.
#[derive(Clone)]
struct Plays {
    play: Play,
    ledger: Ledger,
}

impl Plays {
    fn new(play: Play) -> Self {
        Self { play, ledger: Ledger::default() }
    }

    async fn run(self, caller: Caller) {
        let i = {
            let mut ledger = self.ledger.lock().await;
            ledger.push(None);
            ledger.len() - 1
        };
        let end = (self.play)(caller).await;
        self.ledger.lock().await[i] = Some(end);
    }
}

/// QUIC with a raw key, as the protocol wants it, and everything else as the head says.
fn raw_server(identity: &Identity, head: &Head) -> Result<quinn::ServerConfig> {
    let pkcs8 = [&PKCS8_PREFIX[..], &identity.seed()].concat();
    let spki = [&SPKI_PREFIX[..], identity.public().as_bytes()].concat();
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
    let certified = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(spki)], key);
    let resolver = rustls::server::AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified));
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(resolver));
    tls.alpn_protocols = vec![head.alpn.as_bytes().to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_bidi_streams(head.streams.into());
    transport.receive_window(head.window.into());
    transport.stream_receive_window(head.window.into());
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport));
    Ok(server)
}

/// Believes who dials, unseen.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A stranger that listens, and answers each call in its own way.
struct FakeWorker {
    candidate: Candidate,
    _tasks: JoinSet<()>,
}

impl FakeWorker {
    /// Listens on loopback.
    fn listen(role: Role, head: &Head, plays: Plays) -> Result<Self> {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let (node, mut tasks) = (role.identity.node_id(), JoinSet::new());
        let address = if head.raw {
            let endpoint = quinn::Endpoint::server(raw_server(&role.identity, head)?, here)?;
            let address = endpoint.local_addr()?;
            tasks.spawn(async move {
                let mut calls = JoinSet::new();
                while let Some(incoming) = endpoint.accept().await {
                    let first_packet = FirstPacket::Raw(incoming);
                    calls.spawn(plays.clone().run(Caller { first_packet, role: role.clone() }));
                }
            });
            address
        } else {
            let endpoint = Endpoint::bind(here, &role.identity)?;
            let address = endpoint.local_addr()?;
            tasks.spawn(async move {
                let mut calls = JoinSet::new();
                while let Some(incoming) = endpoint.accept().await {
                    let first_packet = FirstPacket::Net(incoming);
                    calls.spawn(plays.clone().run(Caller { first_packet, role: role.clone() }));
                }
            });
            address
        };
        Ok(Self { candidate: Candidate { address: address.to_string(), node: Some(node) }, _tasks: tasks })
    }
}

/// Plays strangers beside the three honest workers in jobs, which must be verified and right, or end as the behaviour's head says; no
/// honest worker is blamed, of the strangers the record says what the head says, and they got what they expect.
///
/// # Errors
/// What was not so.
pub fn answers(file: &str, play: Play) -> Result<()> {
    let head = Head::parse(file, true).map_err(anyhow::Error::msg)?;
    let (here, _alone) = Town::enter()?;
    Town::runtime().block_on(among(here, &head, play))
}

async fn among(here: &'static Town, head: &Head, play: Play) -> Result<()> {
    let inputs = tempfile::tempdir()?;
    let job = job_of(head, inputs.path())?;
    let truth = truth_of(here, head, &job).await?;
    let plays = Plays::new(play);
    for n in 0..head.jobs {
        let strangers = strangers(here, head, &truth, &plays, n * head.strangers)?;
        one_job(here, head, &job, &truth.1, &strangers).await.with_context(|| format!("job {n}"))?;
        until_over(&plays.ledger).await?;
    }
    here.neighbour().await.context("after the strangers had gone")?;
    judge(std::mem::take(&mut *plays.ledger.lock().await))
}

fn job_of(head: &Head, folder: &Path) -> Result<Job> {
    let (k, quorum) = head.plan;
    let plan = Plan::new(k, quorum, head.deadline * 1_000);
    let plan = Plan { executions: head.executions.unwrap_or(plan.executions), ..plan };
    let job = Job { plan, ..Job::new(&head.sql) };
    Ok(if head.input == 0 { job } else { job.input("t", &csv(folder, head.input)?) })
}

/// A CSV file of exactly so many bytes.
fn csv(folder: &Path, bytes: usize) -> Result<PathBuf> {
    let path = folder.join("t.csv");
    let mut text = b"i,word\n".to_vec();
    for i in 0.. {
        let line = format!("{i},{}\n", blake3::hash(format!("{i}").as_bytes()));
        if text.len() + 2 * line.len() > bytes {
            break;
        }
        text.extend_from_slice(line.as_bytes());
    }
    // The last word makes up what is missing.
    text.extend_from_slice(b"0,");
    text.resize(bytes - 1, b'x');
    text.push(b'\n');
    std::fs::File::create(&path)?.write_all(&text)?;
    Ok(path)
}

/// The local sandbox knows it for a query without inputs; for others three honest workers, all of whom agree.
async fn truth_of(here: &'static Town, head: &Head, job: &Job) -> Result<(Outcome, Arc<Vec<u8>>)> {
    if head.input == 0 {
        return here.truth(&head.sql).await;
    }
    let ran = here.grid.run(&job.clone().of(3, 3)).await?;
    Ok((ran.record.outcome.context("the honest workers have no result")?, Arc::new(ran.bytes)))
}

fn strangers(
    here: &'static Town,
    head: &Head,
    truth: &(Outcome, Arc<Vec<u8>>),
    plays: &Plays,
    first: usize,
) -> Result<Vec<FakeWorker>> {
    let keys = (0..head.keys.unwrap_or(head.strangers)).map(|_| Identity::generate());
    let keys: Vec<Identity> = keys.collect::<Result<_, _>>().map_err(|e| anyhow::anyhow!("{e}"))?;
    let listen = |i: usize| {
        let sealing = Arc::new(SealingKey::generate().map_err(|e| anyhow::anyhow!("{e}"))?);
        let (identity, truth) = (keys[i % keys.len()].clone(), truth.clone());
        let role = Role { identity, number: first + i, town: here, truth, sealing };
        FakeWorker::listen(role, head, plays.clone())
    };
    (0..head.strangers).map(listen).collect()
}

async fn one_job(here: &'static Town, head: &Head, job: &Job, truth: &[u8], strangers: &[FakeWorker]) -> Result<()> {
    let (record, bytes) = run(here, head, job, strangers).await?;
    let fates: Vec<_> = record.peers.iter().map(|p| p.fate.to_string()).collect();
    let end = record.end.word();
    ensure!(head.ends.iter().any(|e| e == end), "it ended as {end}: {}; {fates:?}", record.reason);
    ensure!(if end == "verified" { bytes == truth } else { truth.starts_with(&bytes) }, "the result is another");
    let honest: Vec<_> = here.grid.candidates().iter().filter_map(|c| c.node).collect();
    faults(head, &record, &honest)
}

/// One job, for which strangers are asked first: its record, and what reached the output.
async fn run(here: &'static Town, head: &Head, job: &Job, strangers: &[FakeWorker]) -> Result<(JobRecord, Vec<u8>)> {
    let candidates = strangers.iter().map(|s| s.candidate.clone()).chain(here.grid.candidates()).collect();
    let sink = MemorySink::default();
    let record = if head.new_requester {
        let identity = Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?;
        let requester = Requester::new(identity, std::env::temp_dir());
        let (notices, request) = (watch::channel(Notice::default()).0, request_of(job, candidates)?);
        let record = requester.request(request, Box::new(sink.clone()), notices, CancellationToken::new()).await?;
        requester.close().await;
        record
    } else {
        here.grid.run_into(job, candidates, Box::new(sink.clone())).await?
    };
    Ok((record, sink.take()))
}

/// Nobody honest is blamed, strangers as the head says; and words of theirs are fit to be shown.
fn faults(head: &Head, record: &JobRecord, honest: &[NodeId]) -> Result<()> {
    let shown = record.reason.chars().all(|c| c == '\n' || is_printable(c));
    ensure!(shown, "not printable: {:?}", record.reason);
    for peer in &record.peers {
        let fate = peer.fate.to_string();
        ensure!(fate.chars().all(is_printable) && fate.chars().count() <= FATE_MAX, "not fit to be shown: {fate:?}");
        if peer.node.is_some_and(|n| honest.contains(&n)) {
            ensure!(!peer.at_fault, "an honest worker was blamed: {fate}");
            continue;
        }
        ensure!(head.fates.iter().any(|f| fate.starts_with(f.as_str())), "a stranger's fate is {fate:?}");
        ensure!(peer.at_fault == fate.starts_with("caught"), "blame and fate differ: {fate}");
        let (first, second) = (&peer.signed_commit, &peer.second_commit);
        let both = first.is_some() && second.is_some() && first != second;
        let shown = fate == "caught: it committed to two different results";
        ensure!(both || !(shown || head.keeps_both), "{fate}, and the record has not both of its commits");
    }
    Ok(())
}

/// Waits for the plays that go on when their job has ended.
async fn until_over(ledger: &Ledger) -> Result<()> {
    let over = async {
        while ledger.lock().await.iter().any(Option::is_none) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PLAYS_ON, over).await.context("the behaviour did not end")
}

/// A play may be cut off by the requester, but not all of them, and what a stranger expects must be.
fn judge(ends: Vec<Option<Result<()>>>) -> Result<()> {
    let mut played = 0;
    let mut cut_off = vec![];
    for end in ends {
        match end {
            Some(Ok(())) => played += 1,
            Some(Err(e)) if is_cut_off(&e) => cut_off.push(format!("{e:#}")),
            Some(Err(e)) => return Err(e.context("what the stranger saw")),
            None => {}
        }
    }
    ensure!(played > 0, "no stranger came to the end of its behaviour: {cut_off:?}");
    Ok(())
}

fn is_cut_off(e: &anyhow::Error) -> bool {
    e.chain().any(|e| {
        e.is::<StreamError>()
            || e.is::<BlobError>()
            || e.is::<ConnectError>()
            || e.is::<quinn::ConnectionError>()
            || e.is::<quinn::ReadError>()
            || e.is::<quinn::ReadExactError>()
            || e.is::<quinn::WriteError>()
    })
}

/// One job beside the strangers of a behaviour while others keep the honest workers busy: it may end in any way, but no false byte
/// comes of it that is vouched for by an honest worker, and none of these is blamed.
///
/// # Errors
/// What was not so.
pub async fn crowd(here: &'static Town, file: &str, play: Play) -> Result<()> {
    static NUMBERS: AtomicUsize = AtomicUsize::new(0);
    let head = Head::parse(file, true).map_err(anyhow::Error::msg)?;
    let inputs = tempfile::tempdir()?;
    let job = job_of(&head, inputs.path())?;
    let truth = truth_of(here, &head, &job).await?;
    let first = NUMBERS.fetch_add(head.strangers, Ordering::Relaxed);
    let strangers = strangers(here, &head, &truth, &Plays::new(play), first)?;
    let honest = here.grid.candidates();
    let (record, bytes) = run(here, &head, &job, &strangers).await?;
    let is_honest = |node: &NodeId| honest.iter().any(|c| c.node == Some(*node));
    if record.end.word() == "verified" && record.agreed.iter().any(is_honest) {
        ensure!(bytes == *truth.1, "the result is another");
    }
    // A quorum of liars can make an honest worker look like one; that strangers are fewer is what a quorum promises.
    let outvoted = record.agreed.iter().all(|node| !is_honest(node)) && !record.agreed.is_empty();
    for peer in record.peers.iter().filter(|p| p.node.as_ref().is_some_and(is_honest)) {
        ensure!(!peer.at_fault || outvoted, "an honest worker was blamed: {}", peer.fate);
    }
    Ok(())
}
