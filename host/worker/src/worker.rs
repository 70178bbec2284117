//! A worker: answers Offers, runs what is dispatched to it, commits, delivers.
//!
//! One task per connection, one per stream. A job's state lives in its stream's task; what several streams of a job
//! share (the committed result that a Verify stream opens) is in [`Committed`].

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eider_attest::Envelope;
use eider_core::{Admission, Donation, EngineStand};
use eider_inputs::{CacheError, Entry, InputCache, read_at};
use eider_net::{BlobError, Connection, Endpoint, EndpointError, Incoming, JobStream, Source, StreamError};
use eider_protocol::{
    Bid, CHUNK_GROUP_BYTES, Challenge, Commit, Decline, Dispatch, Fetch, Hash, Identity, InputEntry, Kind, NodeId,
    Offer, OfferId, Outcome, Progress, ResetCode, Response, SealingKey, Settle, Signed, Stage, Task, Verify,
    manifest_check, query_hash,
};
use eider_runner::{InputReader, Product, Reading, RunError, Runner, Work};
use eider_sandbox::{BrokerError, CellError, Variant};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::evidence::{Attester, Envelopes};

/// A stream whose first message does not come in this time is reset.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// A Bid is good for this long.
const BID_VALID: Duration = Duration::from_secs(60);
/// How often a running job says that it lives.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// A committed result is kept for this long without a word from its requester.
const RESULT_KEPT: Duration = Duration::from_secs(600);
/// Connections at a time; further ones are refused.
const CONNECTIONS_MAX: usize = 1024;
/// Job streams of one connection at a time.
const STREAMS_MAX: usize = 64;

/// What a worker needs.
pub struct WorkerSetup {
    /// Who it is.
    pub identity: Identity,
    /// Where it listens, UDP.
    pub listen: SocketAddr,
    /// What its owner gives.
    pub donation: Donation,
    /// The engines that it knows: the profiles that it has images for, or why it does not run one.
    pub engines: BTreeMap<Hash, EngineStand>,
    /// Jobs that hold a part of the donation: kept up to date by the worker.
    pub running: Arc<AtomicUsize>,
    /// Why no job is to be taken or run now, if none is; watched for as long as the worker lives.
    pub closed: watch::Receiver<Option<String>>,
    /// Where inputs are cached.
    pub cache: PathBuf,
    /// What runs jobs.
    pub runner: Arc<dyn Runner>,
    /// What vouches for this machine, if anything.
    pub attester: Option<Arc<dyn Attester>>,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Its cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Its sealing key.
    #[error("the operating system gives no randomness")]
    Random,
    /// Its socket.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
}

/// A worker that is up.
pub struct Worker {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    address: SocketAddr,
}

struct Shared {
    identity: Identity,
    endpoint: Endpoint,
    admission: Mutex<Admission>,
    runner: Arc<dyn Runner>,
    sealing: SealingKey,
    envelopes: Option<Arc<Envelopes>>,
    cache: InputCache,
    committed: Mutex<HashMap<OfferId, Committed>>,
    closed: watch::Receiver<Option<String>>,
    running: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

/// A result that a requester may open.
struct Committed {
    requester: NodeId,
    root: Hash,
    length: u64,
    source: Source,
}

impl Worker {
    /// Listens and serves until [`Worker::shutdown`].
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn start(setup: WorkerSetup) -> Result<Self, WorkerError> {
        let endpoint = Endpoint::bind(setup.listen, &setup.identity)?;
        let address = endpoint.local_addr()?;
        let cache = InputCache::open(&setup.cache, setup.donation.disk)?;
        let shared = Arc::new(Shared {
            identity: setup.identity,
            endpoint,
            admission: Mutex::new(Admission::new(setup.donation, setup.engines)),
            closed: setup.closed,
            running: setup.running,
            runner: setup.runner,
            sealing: SealingKey::generate().map_err(|_| WorkerError::Random)?,
            envelopes: setup.attester.map(|a| Arc::new(Envelopes::new(a))),
            cache,
            committed: Mutex::default(),
            shutdown: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(shared.clone(), tasks.clone()));
        tasks.spawn(follow_owner(shared.clone()));
        Ok(Self { shared, tasks, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it is.
    pub fn node(&self) -> NodeId {
        self.shared.identity.node_id()
    }

    /// Takes no more jobs, resets those that run, and waits until all is told and ended.
    pub async fn shutdown(self) {
        self.shared.admission.lock().close(Some("the worker is shutting down".into()));
        self.shared.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
        self.shared.endpoint.close(ResetCode::ShuttingDown, Duration::from_millis(500)).await;
    }
}

/// Closes and opens admission as the owner says.
async fn follow_owner(shared: Arc<Shared>) {
    let mut closed = shared.closed.clone();
    loop {
        let reason = closed.borrow_and_update().clone();
        if !shared.shutdown.is_cancelled() {
            shared.admission.lock().close(reason);
        }
        tokio::select! {
            changed = closed.changed() => if changed.is_err() { return },
            () = shared.shutdown.cancelled() => return,
        }
    }
}

async fn accept(shared: Arc<Shared>, tasks: TaskTracker) {
    let connections = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let incoming = tokio::select! {
            incoming = shared.endpoint.accept() => incoming,
            () = shared.shutdown.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (shared, streams) = (shared.clone(), tasks.clone());
        tasks.spawn(async move {
            match Endpoint::finish(incoming).await {
                Ok(connection) => serve_connection(&shared, &connection, &streams).await,
                Err(e) => tracing::debug!("handshake failed: {e}"),
            }
            drop(permit);
        });
    }
}

async fn serve_connection(shared: &Arc<Shared>, connection: &Connection, tasks: &TaskTracker) {
    let requester = connection.node();
    tracing::debug!(%requester, address = %connection.remote_address(), "connected");
    let streams = Arc::new(tokio::sync::Semaphore::new(STREAMS_MAX));
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            () = shared.shutdown.cancelled() => return,
        };
        let Ok(mut stream) = stream else { break };
        let Ok(permit) = streams.clone().try_acquire_owned() else {
            stream.reset(ResetCode::TooMany);
            continue;
        };
        let (shared, connection) = (shared.clone(), connection.clone());
        tasks.spawn(async move {
            if let Err(code) = serve_stream(&shared, &connection, &mut stream).await {
                tracing::debug!(requester = %connection.node(), "stream reset: {code}");
                stream.reset(code);
            }
            drop(permit);
        });
    }
    shared.committed.lock().retain(|_, c| c.requester != requester);
}

/// The code to answer an error with.
fn code_of(e: &StreamError) -> ResetCode {
    e.reset_code().unwrap_or(ResetCode::Cancelled)
}

async fn serve_stream(shared: &Shared, connection: &Connection, stream: &mut JobStream) -> Result<(), ResetCode> {
    let first = tokio::time::timeout(FIRST_MESSAGE, stream.receiver.expect()).await.map_err(|_| ResetCode::Stalled)?;
    let first = first.map_err(|e| code_of(&e))?;
    match first.kind {
        Kind::Offer => JobTask { shared, connection, stream }.run(&first).await,
        Kind::Verify => deliver(shared, connection, stream, &first).await,
        _ => Err(ResetCode::Unexpected),
    }
}

/// A Verify stream: the result's bytes, from where the requester has them.
async fn deliver(
    shared: &Shared,
    connection: &Connection,
    stream: &mut JobStream,
    first: &Incoming,
) -> Result<(), ResetCode> {
    let verify = first.open::<Verify>(connection.node()).map_err(|e| code_of(&e))?;
    let verify = verify.message();
    let (source, length) = {
        let committed = shared.committed.lock();
        let c =
            committed.get(&verify.offer).filter(|c| c.requester == connection.node()).ok_or(ResetCode::WrongPeer)?;
        if verify.root != c.root || verify.offset > c.length || !verify.offset.is_multiple_of(CHUNK_GROUP_BYTES) {
            return Err(ResetCode::Malformed);
        }
        (c.source.clone(), c.length)
    };
    match eider_net::send(&mut stream.sender, source, verify.offset, length).await {
        Ok(()) => {
            stream.sender.finish();
            stream.sender.delivered().await;
            Ok(())
        }
        Err(BlobError::Stream(e)) => Err(code_of(&e)),
        Err(e) => {
            tracing::error!(job = %verify.offer, "a result cannot be delivered: {e}");
            Err(ResetCode::CellFailed)
        }
    }
}

struct JobTask<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    stream: &'a mut JobStream,
}

/// Gives back what a job held, however it ends.
struct Leased<'a>(&'a Shared, OfferId);

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.admission.lock().release(&self.1);
        self.0.committed.lock().remove(&self.1);
    }
}

impl JobTask<'_> {
    async fn run(&mut self, first: &Incoming) -> Result<(), ResetCode> {
        let requester = self.connection.node();
        let offer = first.open::<Offer>(requester).map_err(|e| code_of(&e))?;
        if offer.message().requester != requester {
            return Err(ResetCode::WrongPeer);
        }
        let id = OfferId::from_bytes(*offer.body_hash().as_bytes());
        let answer = self.shared.admission.lock().consider(offer.message());
        let declined = answer.is_err();
        let evidence = if declined { None } else { self.evidence(id, offer.message()).await };
        let shown = evidence.as_ref().map(|e| Envelope::hash(e));
        let evidence = evidence.map(|e| ByteBuf::from(e.to_vec()));
        self.send(Bid { offer: id, answer, sealing: self.shared.sealing.public(), evidence }).await?;
        if declined {
            self.stream.sender.finish();
            self.stream.sender.delivered().await;
            return Ok(());
        }
        let task = self.expect_task(id, offer.message(), shown).await?;
        let admitted = self.shared.admission.lock().admit(id, offer.message());
        admitted.map_err(|decline: Decline| {
            tracing::info!(job = %id, "capacity was taken meanwhile: {}", decline.detail);
            ResetCode::OverCapacity
        })?;
        let leased = Leased(self.shared, id);
        self.shared.running.fetch_add(1, Ordering::Relaxed);
        let started = std::time::Instant::now();
        let product = self.execute(id, offer.message(), task).await?;
        tracing::info!(job = %id, ms = started.elapsed().as_millis(), outcome = %outcome_word(&product.outcome), "commit");
        self.commit_and_settle(id, product, leased).await
    }

    async fn send<T: eider_protocol::Body>(&mut self, message: T) -> Result<(), ResetCode> {
        let signed = Signed::sign(&self.shared.identity, message);
        self.stream.sender.send(&signed).await.map_err(|e| code_of(&e))
    }

    /// The envelope that the Offer asks for, if this machine can make one.
    async fn evidence(&self, id: OfferId, offer: &Offer) -> Option<Arc<Vec<u8>>> {
        let (demand, envelopes) = (offer.attest?, self.shared.envelopes.clone()?);
        let (identity, sealing, offer) = (self.shared.identity.clone(), self.shared.sealing.public(), offer.clone());
        let made = move || envelopes.envelope(&identity, sealing, &offer, id, demand);
        let made = tokio::task::spawn_blocking(made).await.unwrap_or_else(|e| Err(e.to_string()));
        made.inspect_err(|why| tracing::warn!(job = %id, "no evidence: {why}")).ok()
    }

    /// Opens the credential of a Challenge and answers it.
    async fn respond(&mut self, id: OfferId, frame: &Incoming) -> Result<(), ResetCode> {
        let challenge = frame.open::<Challenge>(self.connection.node()).map_err(|e| code_of(&e))?;
        let challenge = challenge.message().clone();
        if challenge.offer != id {
            return Err(ResetCode::WrongPeer);
        }
        let envelopes = self.shared.envelopes.clone().ok_or(ResetCode::Unexpected)?;
        let opened = tokio::task::spawn_blocking(move || envelopes.activate(&challenge)).await;
        let secret = opened.unwrap_or_else(|e| Err(e.to_string())).map_err(|why| {
            tracing::warn!(job = %id, "the credential cannot be opened: {why}");
            ResetCode::NotGranted
        })?;
        self.send(Response { offer: id, secret }).await
    }

    async fn next_frame(&mut self) -> Result<Incoming, ResetCode> {
        let frame = tokio::select! {
            frame = tokio::time::timeout(BID_VALID, self.stream.receiver.expect()) => frame,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        frame.map_err(|_| ResetCode::Stalled)?.map_err(|e| code_of(&e))
    }

    /// Waits for the Dispatch, with at most one Challenge before it, and opens what is sealed in it.
    async fn expect_task(&mut self, id: OfferId, offer: &Offer, shown: Option<Hash>) -> Result<Task, ResetCode> {
        let mut frame = self.next_frame().await?;
        if frame.kind == Kind::Challenge {
            self.respond(id, &frame).await?;
            frame = self.next_frame().await?;
        }
        let dispatch = frame.open::<Dispatch>(self.connection.node()).map_err(|e| code_of(&e))?;
        let dispatch = dispatch.message();
        if dispatch.offer != id || dispatch.worker != self.shared.identity.node_id() {
            return Err(ResetCode::WrongPeer);
        }
        let d = self.shared.sealing.open(dispatch, shown).map_err(|e| e.reset_code())?;
        let bytes = d.inputs.iter().try_fold(0u64, |sum, e| sum.checked_add(e.size));
        let same = query_hash(&d.sql) == offer.query
            && d.inputs.len() as u64 == u64::from(offer.inputs.count)
            && bytes == Some(offer.inputs.bytes);
        if !same {
            return Err(ResetCode::QueryMismatch);
        }
        manifest_check(&d.inputs).map_err(|_| ResetCode::Malformed)?;
        Ok(d)
    }

    /// Runs the job while saying that it lives; ends it when the requester resets, time is up, or the node goes down.
    async fn execute(&mut self, id: OfferId, offer: &Offer, task: Task) -> Result<Product, ResetCode> {
        let variant = Variant::of_profile(&offer.profile).ok_or(ResetCode::Malformed)?;
        let inputs = RemoteInputs::new(self.shared, self.connection, id, &task.inputs).map_err(|e| {
            tracing::warn!(job = %id, "{e}");
            ResetCode::InputUnavailable
        })?;
        let (progress, mut watched) = watch::channel(Progress { stage: Stage::Preparing, done: 0, bytes_read: 0 });
        let work = Work { task, limits: offer.limits, engine: offer.engine, variant };
        let mut running = self.shared.runner.run(work, &inputs, progress);
        let limit = tokio::time::sleep(Duration::from_millis(offer.limits.run_ms));
        tokio::pin!(limit);
        let mut ticker = tokio::time::interval(PROGRESS_EVERY);
        ticker.tick().await;
        let mut closed = self.shared.closed.clone();
        let withdrawn = async move {
            // A worker whose owner cannot be watched any more is one that nobody withdraws.
            if closed.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(withdrawn);
        let (receiver, sender) = (&mut self.stream.receiver, &mut self.stream.sender);
        let said = receiver.frame();
        tokio::pin!(said);
        loop {
            tokio::select! {
                product = &mut running => return product.map_err(|e| run_error(id, &e)),
                word = &mut said => return Err(match word {
                    Ok(Some(_)) => ResetCode::Unexpected,
                    Ok(None) => ResetCode::Cancelled,
                    Err(e) => code_of(&e),
                }),
                () = &mut limit => return Err(ResetCode::TimeLimit),
                () = &mut withdrawn => return Err(ResetCode::Withdrawn),
                () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
                _ = ticker.tick() => {
                    let now = *watched.borrow_and_update();
                    sender.frame(Kind::Progress, &now.to_payload()).await.map_err(|e| code_of(&e))?;
                }
            }
        }
    }

    async fn commit_and_settle(&mut self, id: OfferId, product: Product, leased: Leased<'_>) -> Result<(), ResetCode> {
        let requester = self.connection.node();
        let digest = product.outcome.digest();
        if let (Outcome::Completed { root, length, .. }, Some(source)) = (&product.outcome, product.result) {
            let result = Committed { requester, root: *root, length: *length, source };
            self.shared.committed.lock().insert(id, result);
        }
        self.send(Commit { offer: id, outcome: product.outcome }).await?;
        let frame = tokio::select! {
            frame = tokio::time::timeout(RESULT_KEPT, self.stream.receiver.expect()) => frame,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        let frame = frame.map_err(|_| ResetCode::Stalled)?.map_err(|e| code_of(&e))?;
        let settle = frame.open::<Settle>(requester).map_err(|e| code_of(&e))?;
        let settle = settle.message().clone();
        if settle.offer != id || settle.worker != self.shared.identity.node_id() || settle.digest != digest {
            return Err(ResetCode::Malformed);
        }
        tracing::info!(job = %id, verdict = ?settle.verdict, "settled");
        // Before the requester knows, who may have a next job at once.
        drop(leased);
        self.send(settle).await?;
        self.stream.sender.finish();
        self.stream.sender.delivered().await;
        Ok(())
    }
}

fn outcome_word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed { root, rows, .. } => format!("{rows} rows, root {}", root.short()),
        Outcome::Failed { kind, .. } => kind.to_string(),
    }
}

fn run_error(id: OfferId, e: &RunError) -> ResetCode {
    tracing::warn!(job = %id, "no outcome: {e}");
    match e {
        RunError::Cell(CellError::Broker(BrokerError::InputUnavailable(..))) => ResetCode::InputUnavailable,
        RunError::Cell(CellError::Broker(BrokerError::InputChanged(..))) => ResetCode::InputChanged,
        RunError::Cell(CellError::Broker(BrokerError::Spool(_))) | RunError::Spool(_) => ResetCode::DiskFull,
        RunError::Cell(_) | RunError::NoImage(..) | RunError::Output(_) => ResetCode::CellFailed,
    }
}

/// Inputs that the requester serves, through the cache.
struct RemoteInputs<'a> {
    cache: &'a InputCache,
    connection: &'a Connection,
    offer: OfferId,
    entries: Vec<InputEntry>,
    cached: Vec<Arc<Entry>>,
}

impl InputReader for RemoteInputs<'_> {
    fn read<'b>(&'b self, index: u32, offset: u64, into: &'b mut [u8]) -> Reading<'b> {
        Box::pin(self.read_range(index, offset, into))
    }
}

impl<'a> RemoteInputs<'a> {
    fn new(
        shared: &'a Shared,
        connection: &'a Connection,
        offer: OfferId,
        entries: &[InputEntry],
    ) -> Result<Self, CacheError> {
        let cached = entries.iter().map(|e| shared.cache.entry(e.hash, e.size)).collect::<Result<_, _>>()?;
        Ok(Self { cache: &shared.cache, connection, offer, entries: entries.to_vec(), cached })
    }

    async fn read_range(&self, index: u32, offset: u64, into: &mut [u8]) -> Result<(), BrokerError> {
        let (info, entry) = (&self.entries[index as usize], &self.cached[index as usize]);
        let end = offset + into.len() as u64;
        let unavailable = |why: String| BrokerError::InputUnavailable(info.table.clone(), why);
        if !into.is_empty() && entry.missing(offset, end).is_some() {
            let _alone = entry.fetching.lock().await;
            while let Some((start, stop)) = entry.missing(offset, end) {
                self.fetch(index, entry, start, stop).await?;
            }
        }
        read_at(&entry.file, offset, into).await.map_err(|e| unavailable(e.to_string()))
    }

    /// Fetches missing spans, once more if the stream breaks while the connection stands.
    async fn fetch(&self, index: u32, entry: &Arc<Entry>, start: u64, end: u64) -> Result<(), BrokerError> {
        let info = &self.entries[index as usize];
        let unavailable = |why: String| BrokerError::InputUnavailable(info.table.clone(), why);
        self.cache.reserve(end - start).map_err(|e| unavailable(e.to_string()))?;
        let mut result = self.fetch_once(index, entry, start, end).await;
        if matches!(result, Err(BlobError::Stream(StreamError::Ended))) {
            result = self.fetch_once(index, entry, start, end).await;
        }
        match result {
            Ok(()) => {
                self.cache.filled(info.hash, entry, start, end);
                Ok(())
            }
            Err(e) => {
                self.cache.unreserve(end - start);
                Err(match e {
                    BlobError::Stream(StreamError::Reset(ResetCode::InputChanged)) => BrokerError::InputChanged(
                        info.table.clone(),
                        "the requester's file is no longer what it pinned".into(),
                    ),
                    e => unavailable(e.to_string()),
                })
            }
        }
    }

    async fn fetch_once(&self, index: u32, entry: &Arc<Entry>, start: u64, end: u64) -> Result<(), BlobError> {
        let info = &self.entries[index as usize];
        let mut stream = self.connection.open().await?;
        let fetch = Fetch { offer: self.offer, index, start, end };
        stream.sender.frame(Kind::Fetch, &fetch.to_payload()).await?;
        stream.sender.finish();
        let entry = entry.clone();
        let sink = move |offset: u64, bytes: &[u8]| entry.write(offset, bytes);
        eider_net::receive(&mut stream.receiver, info.hash.into(), info.size, (start, end), sink).await
    }
}
