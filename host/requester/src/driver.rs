//! One job of a requester: the core's actions carried out, and what peers say told to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eider_attest::{Envelope, Issued};
use eider_core::{Action, Closed, DeliveryFailure, End, Event, Job, LostWhy, Peer, PeerState};
use eider_protocol::{
    Bid, Body, Challenge, Dispatch, NodeId, Offer, OfferId, Outcome, ResetCode, Response, Settle, Signed, Task, Verify,
    query_hash,
};
use eider_runner::Sink;
use eider_store::{JobRecord, Moment, PeerRecord, Requirement, ResetCodeWord, What};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::evidence::{BidEvidence, Judged, judge};
use crate::fates::{end_words, fate};
use crate::grants::Grant;
use crate::peer::{Command, Output, PeerTask, Said};
use crate::requester::{JobRequest, Notice, RequestError, Shared};

/// What sealing and signing add to a task: key, tag, ids, CBOR.
const SEALING_BYTES: usize = 1024;
/// How long a finished job waits for the receipts of its Settles.
const RECEIPTS: Duration = Duration::from_millis(300);

/// A Bid whose TPM was sent a credential.
struct Challenged {
    bid: Box<Signed<Bid>>,
    /// What is in it.
    secret: [u8; 32],
    /// The keys that opening it shows.
    pair: String,
}

/// One job under way.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    request: JobRequest,
    offer: Signed<Offer>,
    id: OfferId,
    job: Job,
    started: Instant,
    output: Output,
    notices: watch::Sender<Notice>,
    commands: Vec<Option<mpsc::Sender<Command>>>,
    bids: Vec<Option<Bid>>,
    peers: Vec<PeerRecord>,
    nodes: Vec<Option<NodeId>>,
    timeline: Vec<Moment>,
    said_tx: mpsc::Sender<(Peer, Said)>,
    tasks: JoinSet<()>,
    awaiting_receipts: usize,
    end: Option<End>,
    /// When it was offered, seconds since 1970.
    at: i64,
    /// Bids that wait for the answer to a Challenge.
    challenged: Vec<Option<Challenged>>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        request: JobRequest,
        sink: Arc<std::sync::Mutex<Box<dyn Sink>>>,
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
            attest: request.attest.as_ref().filter(|a| a.wants_evidence()).map(Requirement::demand),
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
            appraisal: None,
            known: None,
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
            bids: vec![None; n],
            peers,
            nodes: vec![None; n],
            timeline: vec![],
            said_tx,
            tasks: JoinSet::new(),
            awaiting_receipts: 0,
            end: None,
            at: unix_now(),
            challenged: (0..n).map(|_| None).collect(),
            request,
        };
        driver.shared.remember(driver.issued(), driver.request.attest.as_ref());
        let size = driver.task().size();
        let max = eider_protocol::Kind::Dispatch.max_bytes() - SEALING_BYTES;
        if size > max { Err(RequestError::TooLarge(size, max)) } else { Ok(driver) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, peer: Option<Peer>, what: What) {
        self.timeline.push(Moment { ms: self.started.elapsed().as_secs_f64() * 1e3, peer, what });
    }

    fn task(&self) -> Task {
        let r = &self.request;
        Task { sql: r.sql.clone(), inputs: r.inputs.entries(), time_us: r.time_us, seed: r.seed }
    }

    /// The task, sealed to the key in a worker's Bid and tied to the evidence in it.
    fn dispatch(&self, p: Peer, worker: NodeId) -> Option<Signed<Dispatch>> {
        let bid = self.bids[p].as_ref()?;
        let shown = bid.evidence.as_ref().map(|e| Envelope::hash(e));
        let sealed = self.task().seal(self.id, worker, bid.sealing, shown).ok()?;
        Some(Signed::sign(&self.shared.identity, sealed))
    }

    fn issued(&self) -> Issued {
        Issued { offer: self.id, nonce: self.offer.message().nonce, at: self.at }
    }

    /// What a Bid in favour shows of its worker's hardware, if the job wants to know: the event that it comes to, or none
    /// while a TPM has still to answer.
    async fn appraise(&mut self, p: Peer, bid: Box<Signed<Bid>>) -> Option<Event> {
        let answer = bid.message().answer.clone();
        let (Some(requirement), Some(node), Ok(_)) = (self.request.attest.clone(), self.nodes[p], &answer) else {
            return Some(Event::Bid(p, answer));
        };
        if !requirement.wants_evidence() {
            return Some(Event::Bid(p, answer));
        }
        let evidence = BidEvidence {
            bytes: bid.message().evidence.as_ref().map(|e| &e[..]),
            node,
            sealing: bid.message().sealing,
        };
        let (judged, known) = {
            let mut memory = self.shared.memory.lock();
            let known = memory.clone();
            (judge(&requirement, &evidence, self.offer.message(), self.issued(), unix_now(), &mut memory), known)
        };
        match judged {
            Judged::Challenge { credential, secret, pair } if self.challenged[p].is_none() => {
                self.note(Some(p), What::Challenge);
                let message = Challenge { offer: self.id, credential: credential.blob, secret: credential.secret };
                let message = Box::new(self.sign(message));
                self.challenged[p] = Some(Challenged { bid, secret, pair });
                self.command(p, Command::Challenge(message)).await;
                None
            }
            Judged::Challenge { .. } => Some(Event::Unfit(p, "its TPM has answered, and lacks the keys".into())),
            Judged::Done(appraisal) => {
                let (tier, minimum) = (appraisal.tier, requirement.policy.minimum);
                let reasons: Vec<_> = appraisal.reasons.iter().map(ToString::to_string).collect();
                self.peers[p].known = Some(known.about(&appraisal, evidence_offer(evidence.bytes, node)));
                self.peers[p].appraisal = Some(*appraisal);
                if tier < minimum {
                    let policy = &requirement.policy.name;
                    return Some(Event::Unfit(
                        p,
                        format!("{tier}, policy {policy} wants {minimum}; {}", reasons.join("; ")),
                    ));
                }
                Some(Event::Bid(p, answer))
            }
        }
    }

    /// The answer to a Challenge: the right secret shows that both keys live in one TPM.
    async fn responded(&mut self, p: Peer, response: &Response) -> Option<Event> {
        let Challenged { bid, secret, pair } = self.challenged[p].take()?;
        if response.secret != secret {
            return Some(Event::Unfit(p, "activation-missing: the TPM has opened another credential".into()));
        }
        self.shared.memory.lock().activated.insert(pair);
        self.appraise(p, bid).await
    }

    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<JobRecord, RequestError> {
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
                    said => self.hear(p, said).await,
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
    async fn hear(&mut self, p: Peer, said: Said) -> Option<Event> {
        match said {
            Said::Event(event) => {
                match &event {
                    Event::Connected(p, node) => {
                        self.nodes[*p] = Some(*node);
                        self.peers[*p].node = Some(*node);
                    }
                    Event::DeliveryFailed(p, DeliveryFailure::WrongBytes) => self.note(Some(*p), What::WrongBytes),
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
                self.bids[p] = Some(bid.message().clone());
                self.appraise(p, bid).await
            }
            Said::Response(response) => self.responded(p, response.message()).await,
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
                self.shared.grants.lock().insert((self.id, node), Arc::new(grant));
                self.note(Some(p), What::Dispatch);
                match self.dispatch(p, node) {
                    Some(dispatch) => self.command(p, Command::Dispatch(Box::new(dispatch))).await,
                    None => self.job.handle(
                        self.now_ms(),
                        Event::Lost(p, LostWhy::Misbehaved(ResetCode::Malformed, "its sealing key is none".into())),
                    ),
                }
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
        let mut grants = self.shared.grants.lock();
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
            at: self.at,
            offer: hex::encode(self.offer.to_payload()),
            policy: r.attest.as_ref().map(|a| a.policy.hash()),
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

/// Seconds since 1970.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The offer that evidence says it was made for.
fn evidence_offer(bytes: Option<&[u8]>, node: NodeId) -> Option<OfferId> {
    Envelope::open(bytes?, node).ok().map(|e| e.offer)
}
