//! One job of a requester: the core's actions carried out, and what peers say told to it.
//!
//! The driver never waits for a peer: commands go into queues, dialling, appraising and writing are tasks of their own, and a
//! Reset cuts through whatever a peer's task waits for.

mod bids;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_core::{Action, Closed, DeliveryFailure, End, Event, Job, LostWhy, Network, Peer, PeerState};
use eider_net::{ConnectError, Prefix, prefix};
use eider_protocol::{Bid, Body, Commit, Kind, Outcome, ResetCode, Settle, Signed, Verify};
use eider_runner::{Sink, Spool, SpoolWriter};
use eider_store::{JobEnd, JobRecord};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::candidature::Candidature;
use crate::evidence::Judged;
use crate::links::{Link, LinkError};
use crate::log::{JobEvent, JobLog, Notice};
use crate::offer::Offered;
use crate::output::Output;
use crate::peer::{Command, PeerTask, Said};
use crate::record::Ended;
use crate::requester::{JobRequest, RequestError, Shared};

/// How long a finished job waits for the receipts of its Settles.
const RECEIPTS: Duration = Duration::from_millis(300);
/// How long it waits for its Resets to leave.
const FAREWELL: Duration = Duration::from_millis(50);
/// What peers have said and the driver has not heard yet; a peer that says more waits, and nobody else.
const SAID: usize = 1024;
/// Messages that are heard before a timer is believed: on a machine that stood still, what came meanwhile comes first. A flood
/// of them holds a deadline back by no more.
const HEARD_FIRST: usize = 4 * SAID;

/// Bytes of a Bid that shows no evidence.
const PLAIN_MAX: usize = 8 << 10;

/// What a driver hears: a peer, an appraisal, or its own inputs.
enum Heard {
    Said(Peer, Said),
    Connected(Peer, Link),
    Unreachable(Peer, LinkError),
    Judged(Peer, Box<Signed<Bid>>, Result<Judged, String>),
    InputFailed(String),
}

/// Both ends of a queue of ours.
type Channel<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// One job under way.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    request: JobRequest,
    offered: Arc<Offered>,
    job: Job,
    log: JobLog,
    peers: Vec<Candidature>,
    output: Output,
    keeper: JoinHandle<SpoolWriter>,
    pump: JoinHandle<Result<Box<dyn Sink>, std::io::Error>>,
    said: Channel<(Peer, Said)>,
    told: (mpsc::UnboundedSender<Heard>, mpsc::UnboundedReceiver<Heard>),
    inputs_failed: Channel<String>,
    tasks: JoinSet<()>,
    /// Numbers for the networks that candidates were met in.
    networks: HashMap<Prefix, Network>,
    end: Option<End>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        request: JobRequest,
        sink: Box<dyn Sink>,
        notices: watch::Sender<Notice>,
    ) -> Result<Self, RequestError> {
        let offered = Arc::new(Offered::new(&shared.identity, &request)?);
        let job = Job::new(request.plan, request.candidates.len(), offered.draw, 0)?;
        shared.knowledge.offered(offered.issued(), request.attest.as_ref());
        let (writer, pump) = Spool::start(sink, shared.scratch.clone(), request.limits.result);
        let (output, keeper) = Output::start(writer);
        let mut driver = Self {
            shared,
            offered,
            job,
            log: JobLog::new(notices),
            peers: vec![],
            output,
            keeper,
            pump,
            said: mpsc::channel(SAID),
            // One or two of each candidate, from tasks of ours.
            told: mpsc::unbounded_channel(),
            inputs_failed: mpsc::channel(1),
            tasks: JoinSet::new(),
            networks: HashMap::new(),
            end: None,
            request,
        };
        for (p, candidate) in driver.request.candidates.clone().into_iter().enumerate() {
            driver.peers.push(Candidature::new(candidate));
            driver.dial(p);
        }
        Ok(driver)
    }

    /// Most candidates of a large grid are not there: who is dialled costs little until there is a connection.
    fn dial(&mut self, p: Peer) {
        let (shared, told) = (self.shared.clone(), self.told.0.clone());
        let candidate = self.peers[p].candidate.clone();
        self.tasks.spawn(async move {
            let heard = match shared.links.connect(&candidate).await {
                Ok(link) => Heard::Connected(p, link),
                Err(e) => Heard::Unreachable(p, e),
            };
            let _ = told.send(heard);
        });
    }

    /// Starts the task that talks to a candidate.
    fn talk(&mut self, p: Peer, link: Link) {
        let task = PeerTask {
            peer: p,
            offer: self.offered.id,
            link,
            bid_max: if self.wants_evidence() { Kind::Bid.max_bytes() } else { PLAIN_MAX },
            said: self.said.0.clone(),
            output: self.output.clone(),
            breach: Arc::new(Mutex::new(ResetCode::JobEnded)),
        };
        self.tasks.spawn(task.run(self.peers[p].orders()));
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.log.started().elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<JobRecord, RequestError> {
        let mut output_error = None;
        loop {
            while let Some(action) = self.job.poll_action() {
                self.act(action);
            }
            if self.job.is_ended() {
                break;
            }
            let due = self.log.started() + Duration::from_millis(self.job.next_timeout().unwrap_or(u64::MAX / 4));
            let heard = tokio::select! {
                Some(heard) = self.told.1.recv() => Some(heard),
                Some((p, said)) = self.said.1.recv() => Some(Heard::Said(p, said)),
                Some(why) = self.inputs_failed.1.recv() => Some(Heard::InputFailed(why)),
                () = tokio::time::sleep_until(due.into()) => None,
                () = cancel.cancelled() => {
                    self.handle(Event::Cancel);
                    continue;
                }
            };
            let is_due = heard.is_none();
            if let Some(heard) = heard {
                self.take(heard, &mut output_error);
            }
            self.take_all(&mut output_error);
            if is_due {
                self.take_failure();
                self.handle(Event::Tick);
            }
        }
        self.finish(output_error, cancel).await
    }

    fn handle(&mut self, event: Event) {
        let now = self.now_ms();
        self.job.handle(now, event);
    }

    /// An input's failure is told before the fetch that met it is reset: it is here before whatever a worker makes of that.
    fn take_failure(&mut self) {
        if let Ok(why) = self.inputs_failed.1.try_recv() {
            self.handle(Event::InputFailed(why));
        }
    }

    fn take(&mut self, heard: Heard, output_error: &mut Option<std::io::Error>) {
        self.take_failure();
        if let Heard::Said(_, Said::Output(e)) = heard {
            *output_error = Some(e);
            return self.handle(Event::Cancel);
        }
        if let Some(event) = self.hear(heard) {
            self.handle(event);
        }
    }

    /// Takes what has come by now: what follows from it is looked at once, and it counts before a timer that is due.
    fn take_all(&mut self, output_error: &mut Option<std::io::Error>) {
        // What a task was made of is kept until it is asked for.
        while self.tasks.try_join_next().is_some() {}
        for _ in 0..HEARD_FIRST {
            let heard = match (self.told.1.try_recv(), self.said.1.try_recv()) {
                (Ok(told), Ok((p, said))) => {
                    self.take(told, output_error);
                    Heard::Said(p, said)
                }
                (Ok(told), Err(_)) => told,
                (Err(_), Ok((p, said))) => Heard::Said(p, said),
                (Err(_), Err(_)) => break,
            };
            self.take(heard, output_error);
        }
    }

    /// Notes what was heard, and turns it into the core's event.
    fn hear(&mut self, heard: Heard) -> Option<Event> {
        match heard {
            Heard::Connected(p, link) => {
                let (node, at) = (link.connection().node(), prefix(link.connection().remote_address()));
                let peer = &mut self.peers[p];
                if peer.node.is_some_and(|known| known != node) {
                    let why = LostWhy::Disconnected("another node is at its address now".into());
                    return Some(Event::Lost(p, why));
                }
                (peer.node, peer.version, peer.network) = (Some(node), link.connection().version(), Some(at));
                self.talk(p, link);
                let new = u32::try_from(self.networks.len()).unwrap_or(u32::MAX);
                Some(Event::Connected(p, node, *self.networks.entry(at).or_insert(Network(new))))
            }
            Heard::Unreachable(p, e) => {
                if let LinkError::Connect(ConnectError::Incompatible) = &e {
                    self.peers[p].incompatible = Some(e.to_string());
                }
                Some(match self.peers[p].node {
                    None => Event::Unreachable(p, e.to_string()),
                    Some(_) => Event::Lost(p, LostWhy::Disconnected(e.to_string())),
                })
            }
            Heard::Judged(p, bid, judged) => self.judged(p, bid, judged),
            Heard::InputFailed(why) => Some(Event::InputFailed(why)),
            Heard::Said(p, said) => self.hear_peer(p, said),
        }
    }

    fn hear_peer(&mut self, p: Peer, said: Said) -> Option<Event> {
        match said {
            Said::Event(event) => {
                match event {
                    Event::DeliveryFailed(p, DeliveryFailure::WrongBytes) => self.log.append(JobEvent::WrongBytes(p)),
                    Event::DeliveryFailed(p, DeliveryFailure::Slow) => self.log.append(JobEvent::Slow(p)),
                    _ => {}
                }
                Some(event)
            }
            Said::Bid(bid) => self.bid(p, bid),
            Said::Response(response) => self.responded(p, response.message()),
            Said::Commit(commit) => self.committed(p, &commit),
            Said::Receipt(receipt) => self.receipt(p, &receipt),
            Said::FirstByte => {
                self.log.append(JobEvent::FirstByte(p));
                None
            }
            Said::Verified(bytes) => {
                self.log.append(JobEvent::Verified(bytes));
                None
            }
            Said::Output(_) => None,
        }
    }

    fn committed(&mut self, p: Peer, commit: &Signed<Commit>) -> Option<Event> {
        let m = commit.message();
        let peer = &mut self.peers[p];
        if peer.granted.is_some() {
            if m.task != self.offered.task_hash || peer.held.is_none_or(|h| h.price != m.price) {
                return Some(misbehaved(p, ResetCode::TaskMismatch, "a commit to another task or price"));
            }
            if peer.signed_commit.is_none() {
                peer.signed_commit = Some(commit.to_payload());
                peer.commit = Some(m.outcome.clone());
                self.log.append(JobEvent::Committed(p));
            } else if peer.second_commit.is_none() && peer.commit.as_ref() != Some(&m.outcome) {
                // The first one stays: only both together prove anything.
                peer.second_commit = Some(commit.to_payload());
                self.log.append(JobEvent::CommittedAgain(p));
            }
        }
        Some(Event::Commit(p, m.outcome.clone()))
    }

    fn receipt(&mut self, p: Peer, receipt: &Signed<Settle>) -> Option<Event> {
        match &self.job.peers()[p] {
            // Anything else that it signs is no receipt.
            PeerState::Closed(Closed::Settled(_)) if self.peers[p].settle.as_ref() == Some(receipt.message()) => {
                self.peers[p].receipt = Some(receipt.to_payload());
                None
            }
            PeerState::Closed(_) => None,
            _ => Some(misbehaved(p, ResetCode::Unexpected, "a receipt of no settlement")),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Offer(p) => {
                self.log.append(JobEvent::Offered(p));
                if self.peers[p].bid_hash.is_some() {
                    // It was busy, and its stream is over.
                    self.peers[p].renew();
                    self.dial(p);
                }
                let message = Box::new(self.sign(p, self.offered.offer.clone()));
                self.peers[p].command(Command::Offer(message));
            }
            Action::Dispatch { peer, seat, among } => {
                self.log.append(JobEvent::Dispatched { peer, seat, among });
                self.dispatch(peer);
            }
            Action::Verify(p) => {
                let Some(Outcome::Completed { root, length, .. }) = self.peers[p].commit.clone() else { return };
                self.log.append(JobEvent::Quorum(p, length));
                let offset = self.output.verified();
                let message = Box::new(self.sign(p, Verify { offer: self.offered.id, root, offset }));
                self.peers[p].command(Command::Verify { message, root, length });
            }
            Action::Settle(p, verdict, digest) => {
                let (Some(worker), Some(held)) = (self.peers[p].node, self.peers[p].held) else { return };
                let (offer, task) = (self.offered.id, self.offered.task_hash);
                let settle = Settle { offer, task, price: held.price, worker, verdict, digest };
                let message = Box::new(self.sign(p, settle.clone()));
                self.peers[p].settle = Some(settle);
                self.peers[p].command(Command::Settle(message));
            }
            Action::Reset(p, code) => {
                self.log.append(JobEvent::Reset(p, code));
                self.peers[p].reset(code);
            }
            Action::End(end) => self.end = Some(end),
        }
    }

    /// The task, sealed to the key in a worker's Bid and tied to the evidence in it; with it goes the right to fetch.
    fn dispatch(&mut self, p: Peer) {
        let (Some(worker), Some(held)) = (self.peers[p].node, self.peers[p].held) else { return };
        let o = &self.offered;
        match o.task.seal(o.id, worker, held.sealing, held.shown) {
            Ok((sealed, secret)) => {
                let (inputs, failed) = (self.request.inputs.clone(), self.inputs_failed.0.clone());
                // The earlier one, of a Dispatch that was refused, ends before the new one begins.
                self.peers[p].granted = None;
                self.peers[p].granted = Some(self.shared.grants.give(secret.clone(), worker, inputs, failed));
                let message = Box::new(self.sign(p, sealed));
                self.peers[p].command(Command::Dispatch { message, secret });
            }
            Err(_) => self.handle(misbehaved(p, ResetCode::Malformed, "its sealing key is none")),
        }
    }

    fn sign<T: Body>(&self, p: Peer, message: T) -> Signed<T> {
        Signed::sign(&self.shared.identity, self.peers[p].version, message)
    }

    /// The job is decided: takes the receipts, hands out what the user has not taken yet, and writes the record.
    async fn finish(
        mut self,
        output_error: Option<std::io::Error>,
        cancel: CancellationToken,
    ) -> Result<JobRecord, RequestError> {
        let end = self.end.take().unwrap_or(End::Cancelled);
        self.log.append(JobEvent::Done(JobEnd::from(&end)));
        self.collect_receipts().await;
        if output_error.is_some() || !matches!(end, End::Verified { .. }) {
            // Nobody takes what is left: who waits for room in the spool waits for nothing.
            self.pump.abort();
        }
        // All tasks of the job have ended: this is the last handle of its output.
        drop(self.output);
        let writer = self.keeper.await.ok();
        let drained = match (output_error, &end, writer) {
            (Some(e), ..) => Err(e),
            (None, End::Verified { .. }, Some(writer)) => {
                writer.finish();
                tokio::select! {
                    pumped = &mut self.pump => pumped.unwrap_or_else(|e| Err(std::io::Error::other(e))).map(drop),
                    () = cancel.cancelled() => Err(std::io::ErrorKind::Interrupted.into()),
                }
            }
            (None, _, writer) => {
                drop(writer);
                Ok(())
            }
        };
        self.pump.abort();
        let split = self.job.split();
        let ended = Ended {
            requester: self.shared.identity.node_id(),
            request: &self.request,
            offered: &self.offered,
            end: &end,
            split,
            states: self.job.peers(),
            peers: self.peers,
            log: &self.log,
        };
        let record = ended.into_record();
        match drained {
            Ok(()) => Ok(record),
            Err(e) => Err(RequestError::Output(e, Box::new(record))),
        }
    }

    /// Waits a little for the answers to Settles, then ends all tasks of the job.
    async fn collect_receipts(&mut self) {
        let until = Instant::now() + RECEIPTS;
        loop {
            let awaited = self.job.peers().iter().zip(&self.peers);
            let mut awaited = awaited
                .filter(|(s, p)| matches!(s, PeerState::Closed(Closed::Settled(_))) && p.receipt.is_none() && !p.gone);
            if awaited.next().is_none() {
                break;
            }
            match tokio::time::timeout_at(until.into(), self.said.1.recv()).await {
                Ok(Some((p, Said::Receipt(receipt)))) => drop(self.receipt(p, &receipt)),
                // Equivocation is kept whenever it shows.
                Ok(Some((p, Said::Commit(commit)))) => drop(self.committed(p, &commit)),
                // A stream that is gone brings no receipt.
                Ok(Some((p, Said::Event(Event::Lost(..))))) => self.peers[p].gone = true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        // Each task still sends the Reset that it was given, then ends; readers of settled streams are cut off.
        self.peers.iter_mut().for_each(Candidature::release);
        let _ = tokio::time::timeout(FAREWELL, async { while self.tasks.join_next().await.is_some() {} }).await;
        self.tasks.shutdown().await;
    }
}

fn misbehaved(p: Peer, code: ResetCode, why: &str) -> Event {
    Event::Lost(p, LostWhy::Misbehaved(code, why.into()))
}
