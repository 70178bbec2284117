//! A requester: drives [`eider_core::Job`] with connections, the clock and the user's output.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use eider_core::{Action, Closed, End, Event, Job, LostWhy, Peer, PeerState, Plan, PlanError};
use eider_net::{BlobError, Connection, Endpoint, EndpointError};
use eider_protocol::{
    Body, CHUNK_GROUP_BYTES, DataClass, Dispatch, Fault, Fetch, Hash, Identity, Limits, NodeId, Offer, OfferId,
    Outcome, ResetCode, Settle, Signed, Verdict, Verify, query_hash,
};
use eider_sandbox::Variant;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::inputs::Inputs;
use crate::peer::{Command, Output, PeerTask, Said};
use crate::record::{JobRecord, Moment, PeerRecord, ResetCodeWord, What};

/// How long a finished job waits for the receipts of its Settles.
const RECEIPTS: Duration = Duration::from_millis(300);
/// Input streams of one connection at a time.
const FETCHES_MAX: usize = 64;

/// Where a result goes.
pub trait Sink: Write + Send {}
impl<T: Write + Send> Sink for T {}

/// A worker that may be asked: `host:port`, or `host:port#node_id` to accept only that node there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `host:port`.
    pub address: String,
    /// Who it must be.
    pub node: Option<NodeId>,
}

impl FromStr for Candidate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, node) = match text.split_once('#') {
            Some((address, node)) => (address, Some(node.parse().map_err(|e| format!("{text:?}: {e}"))?)),
            None => (text, None),
        };
        let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(format!("{text:?} is not HOST:PORT or HOST:PORT#NODE_ID"));
        }
        Ok(Self { address: address.into(), node })
    }
}

/// A job to be run on a grid.
#[derive(Clone, Debug)]
pub struct JobRequest {
    /// The query.
    pub sql: String,
    /// Its inputs.
    pub inputs: Inputs,
    /// Who may run it.
    pub candidates: Vec<Candidate>,
    /// How many run it and must agree.
    pub plan: Plan,
    /// The engine.
    pub engine: Hash,
    /// The image.
    pub variant: Variant,
    /// Class of the data.
    pub class: DataClass,
    /// What it may use.
    pub limits: Limits,
    /// Job time, microseconds since 1970.
    pub time_us: i64,
    /// Job seed.
    pub seed: [u8; 32],
}

/// How far a job is, for a progress display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Bids in favour.
    pub bids: usize,
    /// Workers that run it.
    pub running: usize,
    /// Commits so far.
    pub commits: usize,
    /// Bytes verified, and all.
    pub delivered: Option<(u64, u64)>,
}

/// Why a job could not be tried at all, or its output not be written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// k and quorum.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The socket.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Random,
    /// The query or manifest does not fit a Dispatch.
    #[error("the query and its manifest have {0} bytes, at most {1} fit; use fewer files")]
    TooLarge(usize, usize),
    /// The result could not be written.
    #[error("the result cannot be written: {0}")]
    Output(io::Error),
}

/// Asks grids. Connections are kept from job to job.
#[derive(Clone)]
pub struct Requester {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    endpoints: Mutex<HashMap<bool, Endpoint>>,
    connections: tokio::sync::Mutex<HashMap<SocketAddr, Connection>>,
    grants: Mutex<HashMap<(OfferId, NodeId), Arc<Grant>>>,
}

/// What a dispatched worker may fetch.
struct Grant {
    inputs: Inputs,
    served: AtomicU64,
    failed: mpsc::Sender<(Peer, Said)>,
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requester({:?})", self.shared.identity)
    }
}

impl Requester {
    /// A requester with this identity.
    pub fn new(identity: Identity) -> Self {
        let shared = Shared {
            identity,
            endpoints: Mutex::default(),
            connections: tokio::sync::Mutex::default(),
            grants: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs a job. `output` gets verified bytes only, in order; `cancel` ends the job with a Reset to everybody.
    ///
    /// # Errors
    /// [`RequestError`]. A job that ends without a result is a record and no error.
    pub async fn request(
        &self,
        job: JobRequest,
        output: Arc<Mutex<Box<dyn Sink>>>,
        notices: watch::Sender<Notice>,
        cancel: CancellationToken,
    ) -> Result<JobRecord, RequestError> {
        Driver::new(self.shared.clone(), job, output, notices)?.run(cancel).await
    }

    /// Says good-bye on all connections.
    pub async fn close(&self) {
        let endpoints: Vec<_> = locked(&self.shared.endpoints).values().cloned().collect();
        for endpoint in endpoints {
            endpoint.close(ResetCode::ShuttingDown, Duration::from_millis(500)).await;
        }
    }
}

impl Shared {
    fn endpoint(&self, v6: bool) -> Result<Endpoint, EndpointError> {
        let mut endpoints = locked(&self.endpoints);
        if let Some(endpoint) = endpoints.get(&v6) {
            return Ok(endpoint.clone());
        }
        let any = if v6 { SocketAddr::from(([0u16; 8], 0)) } else { SocketAddr::from(([0, 0, 0, 0], 0)) };
        let endpoint = Endpoint::bind(any, &self.identity)?;
        endpoints.insert(v6, endpoint.clone());
        Ok(endpoint)
    }

    /// A connection to a candidate, kept or new.
    async fn connect(self: &Arc<Self>, candidate: &Candidate) -> Result<Connection, String> {
        let mut found = tokio::net::lookup_host(&candidate.address).await.map_err(|e| e.to_string())?;
        let address = found.next().ok_or("the name has no address")?;
        if let Some(kept) = self.connections.lock().await.get(&address).cloned()
            && candidate.node.is_none_or(|n| n == kept.node())
            && futures_now(kept.closed()).await.is_none()
        {
            return Ok(kept);
        }
        let endpoint = self.endpoint(address.is_ipv6()).map_err(|e| e.to_string())?;
        let connection = endpoint.connect(address, candidate.node).await.map_err(|e| e.to_string())?;
        self.connections.lock().await.insert(address, connection.clone());
        tokio::spawn(serve_inputs(self.clone(), connection.clone()));
        Ok(connection)
    }
}

/// The future's value if it is ready now.
async fn futures_now<F: Future>(f: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        v = f => Some(v),
        () = std::future::ready(()) => None,
    }
}

/// Serves granted inputs on the streams that a worker opens, until the connection is gone.
async fn serve_inputs(shared: Arc<Shared>, connection: Connection) {
    let slots = Arc::new(tokio::sync::Semaphore::new(FETCHES_MAX));
    while let Ok(mut stream) = connection.accept().await {
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            stream.reset(ResetCode::TooMany);
            continue;
        };
        let (shared, node) = (shared.clone(), connection.node());
        tokio::spawn(async move {
            if let Err(code) = serve_fetch(&shared, node, &mut stream).await {
                tracing::debug!(worker = %node, "fetch reset: {code}");
                stream.reset(code);
            }
            drop(slot);
        });
    }
}

async fn serve_fetch(shared: &Shared, node: NodeId, stream: &mut eider_net::JobStream) -> Result<(), ResetCode> {
    let frame = tokio::time::timeout(Duration::from_secs(10), stream.receiver.expect()).await;
    let frame = frame.map_err(|_| ResetCode::Stalled)?.map_err(|e| e.reset_code().unwrap_or(ResetCode::Cancelled))?;
    if frame.kind != eider_protocol::Kind::Fetch {
        return Err(ResetCode::Unexpected);
    }
    let fetch = Fetch::decode(&frame.payload).map_err(|e| e.reset_code())?;
    let grant = locked(&shared.grants).get(&(fetch.offer, node)).cloned().ok_or(ResetCode::NotGranted)?;
    let input = grant.inputs.pinned().get(fetch.index as usize).ok_or(ResetCode::NotGranted)?;
    let aligned = |n: u64| n.is_multiple_of(CHUNK_GROUP_BYTES) || n == input.entry.size;
    if fetch.start > fetch.end
        || fetch.end > input.entry.size
        || !fetch.start.is_multiple_of(CHUNK_GROUP_BYTES)
        || !aligned(fetch.end)
    {
        return Err(ResetCode::Malformed);
    }
    let sent = eider_net::send(&mut stream.sender, input.source.clone(), fetch.start, fetch.end).await;
    match sent {
        Ok(()) if input.unchanged() => {
            stream.sender.finish();
            grant.served.fetch_add(fetch.end - fetch.start, Ordering::Relaxed);
            Ok(())
        }
        Err(BlobError::Stream(e)) => Err(e.reset_code().unwrap_or(ResetCode::Cancelled)),
        _ => {
            let why = format!("input {}: {} changed while the job ran", input.entry.table, input.path.display());
            let _ = grant.failed.send((0, Said::Event(Event::InputFailed(why)))).await;
            Err(ResetCode::InputChanged)
        }
    }
}

/// One job under way.
struct Driver {
    shared: Arc<Shared>,
    request: JobRequest,
    offer: Signed<Offer>,
    id: OfferId,
    job: Job,
    started: Instant,
    output: Output,
    notices: watch::Sender<Notice>,
    commands: Vec<Option<mpsc::Sender<Command>>>,
    peers: Vec<PeerRecord>,
    nodes: Vec<Option<NodeId>>,
    timeline: Vec<Moment>,
    said_tx: mpsc::Sender<(Peer, Said)>,
    tasks: JoinSet<()>,
    awaiting_receipts: usize,
    end: Option<End>,
}

impl Driver {
    fn new(
        shared: Arc<Shared>,
        request: JobRequest,
        sink: Arc<Mutex<Box<dyn Sink>>>,
        notices: watch::Sender<Notice>,
    ) -> Result<Self, RequestError> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| RequestError::Random)?;
        // Equal bids are taken in the order of candidates: another order each time, so that the load spreads.
        let mut request = request;
        request.candidates.sort_by_cached_key(|c| *blake3::keyed_hash(&nonce, c.address.as_bytes()).as_bytes());
        let offer = Offer {
            requester: shared.identity.node_id(),
            query: query_hash(&request.sql),
            class: request.class,
            engine: request.engine,
            profile: request.variant.profile().into(),
            limits: request.limits,
            inputs: request.inputs.summary(),
            nonce,
        };
        let offer = Signed::sign(&shared.identity, offer);
        let id = OfferId::from_bytes(*offer.body_hash().as_bytes());
        let n = request.candidates.len();
        let job = Job::new(request.plan, n, 0)?;
        let peers = request.candidates.iter().map(|c| PeerRecord {
            address: c.address.clone(),
            node: c.node,
            fate: String::new(),
            at_fault: false,
            commit: None,
            signed_bid: None,
            signed_commit: None,
            signed_receipt: None,
            input_bytes: 0,
        });
        let (said_tx, _) = mpsc::channel(1);
        let peers = peers.collect();
        let driver = Self {
            output: Output { sink, verified: Arc::default() },
            shared,
            offer,
            id,
            job,
            started: Instant::now(),
            notices,
            commands: (0..n).map(|_| None).collect(),
            peers,
            nodes: vec![None; n],
            timeline: vec![],
            said_tx,
            tasks: JoinSet::new(),
            awaiting_receipts: 0,
            end: None,
            request,
        };
        let size = driver.dispatch(NodeId::from_bytes([0; 32])).to_payload().len();
        let max = eider_protocol::Kind::Dispatch.max_bytes();
        if size > max { Err(RequestError::TooLarge(size, max)) } else { Ok(driver) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, peer: Option<Peer>, what: What) {
        self.timeline.push(Moment { ms: self.started.elapsed().as_secs_f64() * 1e3, peer, what });
    }

    fn dispatch(&self, worker: NodeId) -> Signed<Dispatch> {
        let r = &self.request;
        let message = Dispatch {
            offer: self.id,
            worker,
            sql: r.sql.clone(),
            inputs: r.inputs.entries(),
            time_us: r.time_us,
            seed: r.seed,
        };
        Signed::sign(&self.shared.identity, message)
    }

    async fn run(mut self, cancel: CancellationToken) -> Result<JobRecord, RequestError> {
        let (said_tx, mut said_rx) = mpsc::channel(256);
        self.said_tx = said_tx;
        self.dial();
        let mut output_error = None;
        loop {
            while let Some(action) = self.job.poll_action() {
                self.act(action).await;
            }
            if self.job.is_ended() {
                break;
            }
            self.publish();
            let due = self.started + Duration::from_millis(self.job.next_timeout().unwrap_or(u64::MAX / 4));
            let event = tokio::select! {
                Some((p, said)) = said_rx.recv() => match said {
                    Said::Output(e) => {
                        output_error = Some(e);
                        Some(Event::Cancel)
                    }
                    said => self.hear(p, said),
                },
                () = tokio::time::sleep_until(due.into()) => Some(Event::Tick),
                () = cancel.cancelled() => Some(Event::Cancel),
            };
            if let Some(event) = event {
                let now = self.now_ms();
                self.job.handle(now, event);
            }
        }
        self.note(None, What::Done);
        self.collect_receipts(&mut said_rx).await;
        if let Some(e) = output_error {
            return Err(RequestError::Output(e));
        }
        Ok(self.record())
    }

    fn dial(&mut self) {
        for (p, candidate) in self.request.candidates.clone().into_iter().enumerate() {
            let (shared, said) = (self.shared.clone(), self.said_tx.clone());
            let (offer, output) = (self.id, self.output.clone());
            let (commands_tx, commands_rx) = mpsc::channel(8);
            self.commands[p] = Some(commands_tx);
            self.tasks.spawn(async move {
                match shared.connect(&candidate).await {
                    Ok(connection) => {
                        let _ = said.send((p, Said::Event(Event::Connected(p, connection.node())))).await;
                        PeerTask { peer: p, offer, connection, said, output }.run(commands_rx).await;
                    }
                    Err(why) => {
                        let _ = said.send((p, Said::Event(Event::Unreachable(p, why)))).await;
                    }
                }
            });
        }
    }

    /// Notes what a peer said, and turns it into the core's event.
    fn hear(&mut self, p: Peer, said: Said) -> Option<Event> {
        match said {
            Said::Event(event) => {
                match &event {
                    Event::Connected(p, node) => {
                        self.nodes[*p] = Some(*node);
                        self.peers[*p].node = Some(*node);
                    }
                    Event::DeliveryFailed(p, eider_core::DeliveryFailure::WrongBytes) => {
                        self.note(Some(*p), What::WrongBytes)
                    }
                    Event::Bytes(_) | Event::Delivered(_) if self.first(What::FirstByte).is_none() => {
                        self.note(Some(p), What::FirstByte);
                    }
                    _ => {}
                }
                Some(event)
            }
            Said::Bid(bid) => {
                self.note(Some(p), What::Bid);
                self.peers[p].signed_bid = Some(hex::encode(bid.to_payload()));
                Some(Event::Bid(p, bid.message().answer.clone()))
            }
            Said::Commit(commit) => {
                self.note(Some(p), What::Commit);
                self.peers[p].signed_commit = Some(hex::encode(commit.to_payload()));
                self.peers[p].commit = Some(commit.message().outcome.clone());
                Some(Event::Commit(p, commit.message().outcome.clone()))
            }
            Said::Receipt(receipt) => {
                self.receipt(p, &receipt);
                None
            }
            Said::Output(_) => None,
        }
    }

    fn first(&self, what: What) -> Option<f64> {
        self.timeline.iter().find(|m| m.what == what).map(|m| m.ms)
    }

    fn receipt(&mut self, p: Peer, receipt: &Signed<Settle>) {
        if matches!(self.job.peers()[p], PeerState::Closed(Closed::Settled(v)) if v == receipt.message().verdict) {
            self.peers[p].signed_receipt = Some(hex::encode(receipt.to_payload()));
            self.awaiting_receipts = self.awaiting_receipts.saturating_sub(1);
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Offer(p) => {
                self.note(Some(p), What::Offer);
                self.command(p, Command::Offer(Box::new(self.offer.clone()))).await;
            }
            Action::Dispatch(p) => {
                let Some(node) = self.nodes[p] else { return };
                let grant = Grant {
                    inputs: self.request.inputs.clone(),
                    served: AtomicU64::new(0),
                    failed: self.said_tx.clone(),
                };
                locked(&self.shared.grants).insert((self.id, node), Arc::new(grant));
                self.note(Some(p), What::Dispatch);
                self.command(p, Command::Dispatch(Box::new(self.dispatch(node)))).await;
            }
            Action::Verify(p) => {
                let Some(Outcome::Completed { root, length, .. }) = self.peers[p].commit.clone() else { return };
                self.note(Some(p), What::Quorum);
                let offset = self.output.verified.load(Ordering::Acquire);
                let message = Box::new(self.sign(Verify { offer: self.id, root, offset }));
                self.command(p, Command::Verify { message, root, length }).await;
            }
            Action::Settle(p, verdict, digest) => {
                let Some(worker) = self.nodes[p] else { return };
                self.awaiting_receipts += 1;
                let settle = self.sign(Settle { offer: self.id, worker, verdict, digest });
                self.command(p, Command::Settle(Box::new(settle))).await;
            }
            Action::Reset(p, code) => {
                self.note(Some(p), What::Reset(ResetCodeWord(code)));
                self.command(p, Command::Reset(code)).await;
            }
            Action::End(end) => self.end = Some(end),
        }
    }

    fn sign<T: Body>(&self, message: T) -> Signed<T> {
        Signed::sign(&self.shared.identity, message)
    }

    async fn command(&mut self, p: Peer, command: Command) {
        if let Some(commands) = &self.commands[p] {
            let _ = commands.send(command).await;
        }
    }

    fn publish(&self) {
        let count = |f: fn(&PeerState) -> bool| self.job.peers().iter().filter(|s| f(s)).count();
        let delivering = self.job.peers().iter().position(|s| matches!(s, PeerState::ExpectResult { .. }));
        let delivered = delivering.and_then(|p| match &self.peers[p].commit {
            Some(Outcome::Completed { length, .. }) => Some((self.output.verified.load(Ordering::Acquire), *length)),
            _ => None,
        });
        self.notices.send_replace(Notice {
            bids: self.peers.iter().filter(|p| p.signed_bid.is_some()).count(),
            running: count(|s| matches!(s, PeerState::ExpectCommit { .. })),
            commits: self.peers.iter().filter(|p| p.signed_commit.is_some()).count(),
            delivered,
        });
    }

    /// Waits a little for the answers to Settles, then ends all tasks of the job.
    async fn collect_receipts(&mut self, said: &mut mpsc::Receiver<(Peer, Said)>) {
        let until = tokio::time::Instant::now() + RECEIPTS;
        while self.awaiting_receipts > 0 {
            match tokio::time::timeout_at(until, said.recv()).await {
                Ok(Some((p, Said::Receipt(receipt)))) => self.receipt(p, &receipt),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        // Each task still sends the Reset that is in its queue, then ends; readers of settled streams are cut off.
        self.commands.clear();
        let _ =
            tokio::time::timeout(Duration::from_millis(50), async { while self.tasks.join_next().await.is_some() {} })
                .await;
        self.tasks.abort_all();
        let mut grants = locked(&self.shared.grants);
        for (p, node) in self.nodes.iter().enumerate() {
            if let Some(node) = node
                && let Some(grant) = grants.remove(&(self.id, *node))
            {
                self.peers[p].input_bytes = grant.served.load(Ordering::Relaxed);
            }
        }
    }

    fn record(mut self) -> JobRecord {
        for (p, state) in self.job.peers().iter().enumerate() {
            (self.peers[p].fate, self.peers[p].at_fault) = fate(state);
        }
        let end = self.end.take().unwrap_or(End::Cancelled);
        let nodes = |peers: &[Peer]| peers.iter().filter_map(|p| self.nodes[*p]).collect::<Vec<_>>();
        let (word, reason) = end_words(&end, &self.request.plan);
        let (outcome, agreed, deliverer) = match &end {
            End::Verified { outcome, agreed, deliverer } => {
                (Some(outcome.clone()), nodes(agreed), self.nodes[*deliverer])
            }
            End::JobFailed { kind, message, agreed } => {
                (Some(Outcome::Failed { kind: *kind, message: message.clone() }), nodes(agreed), None)
            }
            _ => (None, vec![], None),
        };
        let split = self.job.split().into_iter().map(|(d, peers)| (d, nodes(&peers))).collect();
        let r = self.request;
        JobRecord {
            job: self.id,
            requester: self.shared.identity.node_id(),
            engine: r.engine,
            profile: r.variant.profile().into(),
            class: r.class,
            k: r.plan.k,
            quorum: r.plan.quorum,
            query: self.offer.message().query,
            time_us: r.time_us,
            seed: hex::encode(r.seed),
            inputs: r.inputs.entries(),
            end: word.into(),
            reason,
            digest: outcome.as_ref().map(Outcome::digest),
            outcome,
            agreed,
            deliverer,
            split,
            peers: self.peers,
            timeline: self.timeline,
        }
    }
}

/// What became of a candidate, and whether it is to blame.
fn fate(state: &PeerState) -> (String, bool) {
    match state {
        PeerState::Closed(Closed::Unreachable(why)) => (format!("unreachable: {why}"), false),
        PeerState::Closed(Closed::Duplicate(_)) => ("the same node as another candidate".into(), false),
        PeerState::Closed(Closed::Declined(d)) => (format!("declined: {}", d.detail), false),
        PeerState::Closed(Closed::TooExpensive(price)) => {
            (format!("asked {price} micro-credits, more than the job pays"), false)
        }
        PeerState::Closed(Closed::Lost(LostWhy::ResetByWorker(code))) => (format!("gave up: {code}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::Disconnected(why))) => (format!("lost: {why}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::Misbehaved(code, why))) => (format!("caught: {code} ({why})"), true),
        PeerState::Closed(Closed::Reset(code)) if code.fault() == Fault::Receiver => (format!("caught: {code}"), true),
        PeerState::Closed(Closed::Reset(code)) => (format!("reset: {code}"), false),
        PeerState::Closed(Closed::Settled(Verdict::Delivered)) => ("delivered the result".into(), false),
        PeerState::Closed(Closed::Settled(Verdict::Agreed)) => ("agreed".into(), false),
        other => (format!("{other:?}"), false),
    }
}

fn end_words(end: &End, plan: &Plan) -> (&'static str, String) {
    let (k, q) = (plan.k, plan.quorum);
    match end {
        End::Verified { agreed, .. } => {
            ("verified", format!("{} workers agreed, {q} of {k} were asked for; every byte checked", agreed.len()))
        }
        End::JobFailed { kind, message, agreed } => {
            ("job-failed", format!("{} workers agree that the query fails; {kind}.\n{message}", agreed.len()))
        }
        End::NoQuorum { split } => {
            let groups: Vec<_> = split.iter().map(|(d, peers)| format!("{} for {}", peers.len(), d.short())).collect();
            let groups = if groups.is_empty() { "nobody committed".into() } else { groups.join(", ") };
            ("no-quorum", format!("{q} equal commits were needed and cannot come any more: {groups}"))
        }
        End::NoCandidates => ("no-candidates", format!("fewer than {q} candidates took the job")),
        End::ExceedsCapacity => {
            ("exceeds-capacity", "no {q} candidates are large enough for the job".replace("{q}", &q.to_string()))
        }
        End::NoDelivery { .. } => ("no-delivery", "there was a quorum, but nobody of it delivered the bytes".into()),
        End::InputFailed(why) => ("input-failed", why.clone()),
        End::DeadlinePassed { split } => {
            let commits: usize = split.iter().map(|(_, peers)| peers.len()).sum();
            ("deadline-passed", format!("the deadline passed with {commits} commits and no quorum of {q}"))
        }
        End::Cancelled => ("cancelled", "the job was cancelled".into()),
    }
}
