//! One job's stream: an Offer is answered, its Dispatch run, the outcome committed to and settled.
//!
//! What a job holds is in guards: a held Bid, a lease of the donation, the count of running jobs, wide windows. A stream whose
//! peer does nothing ends by the Offer's validity, the job's time, or the time for which its result is kept, and nothing that
//! it holds is waited for by another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_attest::Envelope;
use eider_core::Refused;
use eider_net::{Connection, Incoming, JobStream, Outbox, Prefix, Receiver, Sender, StreamError, prefix};
use eider_protocol::{
    Accept, Bid, Body, Challenge, Commit, Decline, DeclineReason, Dispatch, Hash, Kind, NodeId, Offer, OfferId,
    Outcome, Progress, ResetCode, Response, Settle, Signed, Stage, Task, manifest_check,
};
use eider_runner::{Product, RunError, Work};
use eider_sandbox::{BrokerError, CellError, Variant};
use serde_bytes::ByteBuf;
use tokio::sync::watch;

use crate::accept::code_of;
use crate::inputs::RemoteInputs;
use crate::places::Place;
use crate::worker::{Counted, Shared, unix_now};

/// A requester takes a message in this time, or its job is given up.
const WRITE: Duration = Duration::from_secs(10);
/// A frame that has begun is there after this time.
const PAYLOAD: Duration = Duration::from_secs(20);
/// Bytes of a Dispatch that each held Bid may have, whatever others have.
const SMALL: usize = 64 << 10;
/// How often a running job says that it lives.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How long a Settle is waited for where there is no result to keep.
const SETTLE: Duration = Duration::from_secs(600);

/// Serves a stream that began with an Offer.
pub(crate) async fn serve(shared: &Arc<Shared>, connection: &Connection, stream: JobStream, first: &Incoming) {
    let JobStream { receiver, sender } = stream;
    let mut task = JobTask { shared, connection, receiver, sender: Some(sender) };
    match task.run(first).await {
        Ok(()) => task.farewell().await,
        Err(code) => {
            tracing::debug!(requester = %connection.node(), "job stream reset: {code}");
            task.receiver.stop(code);
            if let Some(mut sender) = task.sender {
                sender.reset(code);
            }
        }
    }
}

struct JobTask<'a> {
    shared: &'a Arc<Shared>,
    connection: &'a Connection,
    receiver: Receiver,
    /// With the outbox while a job runs; gone if that ended the stream.
    sender: Option<Sender>,
}

/// A Bid in favour that waits for its Dispatch.
struct HeldBid<'a>(&'a Shared, NodeId, #[expect(dead_code, reason = "held")] Place<Prefix>);

impl Drop for HeldBid<'_> {
    fn drop(&mut self) {
        self.0.admission.lock().unhold(&self.1);
    }
}

/// What a job holds of the donation: given back however it ends, unless a result is kept.
struct Leased<'a> {
    shared: &'a Shared,
    id: OfferId,
    /// Gone with the result, if that is kept.
    place: Option<Place<Prefix>>,
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.shared.forget(&self.id);
        }
    }
}

impl<'a> JobTask<'a> {
    async fn run(&mut self, first: &Incoming) -> Result<(), ResetCode> {
        let requester = self.connection.node();
        let offer = first.open::<Offer>(self.connection.version(), requester).map_err(|e| code_of(&e))?;
        let id = OfferId::from_bytes(*offer.content_hash().as_bytes());
        let offer = offer.message();
        if offer.requester != requester {
            return Err(ResetCode::WrongPeer);
        }
        let (held, answer, evidence) = match self.consider(id, offer).await {
            Ok((held, accept, evidence)) => (Some(held), Ok(accept), evidence),
            Err(decline) => (None, Err(decline), None),
        };
        let shown = evidence.as_ref().map(|e| Envelope::hash(e));
        let evidence = evidence.map(|e| ByteBuf::from(e.to_vec()));
        let price = answer.as_ref().map_or(0, |a| a.price);
        self.send(Bid { offer: id, answer, sealing: self.shared.sealing.public(), evidence }).await?;
        let Some(held) = held else { return Ok(()) };
        let task = self.expect_task(id, offer, shown).await?;
        drop(held);
        let leased = self.admit(id, offer)?;
        let counted = Counted::new(&self.shared.running);
        let started = Instant::now();
        let outbox = Outbox::new(self.sender.take().ok_or(ResetCode::Cancelled)?, WRITE);
        let wide = self.connection.widen();
        let product = match self.execute(&outbox, id, offer, task).await {
            Ok(product) => product,
            Err(code) => {
                outbox.reset(code);
                return Err(code);
            }
        };
        drop(wide);
        tracing::info!(job = %id, ms = started.elapsed().as_millis(), outcome = %outcome_word(&product.outcome), "commit");
        // Slot and memory are free again, whatever the requester does now.
        drop(counted);
        let outcome = product.outcome.clone();
        self.keep(leased, product);
        let commit = Commit { offer: id, task: offer.task, price, outcome };
        let said = match outbox.into_sender().await {
            Ok(sender) => {
                self.sender = Some(sender);
                self.send(commit.clone()).await
            }
            Err(e) => Err(code_of(&e)),
        };
        if let Err(code) = said {
            // Nobody knows of the result.
            self.shared.forget(&id);
            return Err(code);
        }
        self.settle(&commit).await
    }

    /// Whether the job would be run: with a place for the Bid to wait in, and the evidence that the Offer asks for.
    async fn consider(
        &self,
        id: OfferId,
        offer: &Offer,
    ) -> Result<(HeldBid<'a>, Accept, Option<Arc<Vec<u8>>>), Decline> {
        let now = unix_now();
        if !offer.is_current(now) {
            let detail = format!("made at {} for {} s, it is {now} here", offer.issued_at, offer.valid_s);
            return Err(Decline { reason: DeclineReason::Expired, detail });
        }
        let (held, accept) = {
            let mut admission = self.shared.admission.lock();
            let accept = admission.consider(offer, offer.expires_s(), now)?;
            let place = self.shared.bids.take(self.network()).ok_or_else(|| Decline {
                reason: DeclineReason::Busy,
                detail: "too many bids wait for a dispatch from your network".into(),
            })?;
            admission.hold(offer.requester)?;
            (HeldBid(self.shared, offer.requester, place), accept)
        };
        let evidence = match (&self.shared.desk, offer.attest) {
            (Some(desk), Some(demand)) => {
                desk.envelope(&self.shared.identity, self.shared.sealing.public(), offer, id, demand).await?
            }
            _ => None,
        };
        Ok((held, accept, evidence))
    }

    fn network(&self) -> Prefix {
        prefix(self.connection.remote_address())
    }

    fn admit(&self, id: OfferId, offer: &Offer) -> Result<Leased<'a>, ResetCode> {
        let place = self.shared.kept.take(self.network()).ok_or(ResetCode::OverCapacity)?;
        match self.shared.admission.lock().admit(id, offer, offer.expires_s(), unix_now()) {
            Ok(()) => Ok(Leased { shared: self.shared, id, place: Some(place) }),
            Err(Refused::Twice) => Err(ResetCode::Unexpected),
            Err(Refused::Decline(decline)) => {
                tracing::info!(job = %id, "capacity was taken meanwhile: {}", decline.detail);
                Err(ResetCode::OverCapacity)
            }
        }
    }

    /// Keeps a result until it is settled or its time is up, apart from this stream and its connection.
    fn keep(&self, mut leased: Leased<'_>, product: Product) {
        let (Outcome::Completed { root, length, .. }, Some(result)) = (&product.outcome, product.result) else {
            return;
        };
        let Some(place) = leased.place.take() else { return };
        self.shared.admission.lock().committed(&leased.id, Some(*length));
        self.shared.results.keep(leased.id, self.connection.node(), (*root, *length), result, place);
    }

    async fn send<T: Body>(&mut self, message: T) -> Result<(), ResetCode> {
        let signed = Signed::sign(&self.shared.identity, self.connection.version(), message);
        let sender = self.sender.as_mut().ok_or(ResetCode::Cancelled)?;
        sender.send_within(&signed, WRITE).await.map_err(|e| code_of(&e))
    }

    /// Opens the credential of a Challenge and answers it.
    async fn respond(&mut self, id: OfferId, frame: &Incoming) -> Result<(), ResetCode> {
        let challenge = frame.open::<Challenge>(self.connection.version(), self.connection.node());
        let challenge = challenge.map_err(|e| code_of(&e))?.message().clone();
        if challenge.offer != id {
            return Err(ResetCode::WrongPeer);
        }
        let desk = self.shared.desk.as_ref().ok_or(ResetCode::Unexpected)?;
        let secret = desk.activate(self.connection.node(), challenge).await.map_err(|why| {
            tracing::warn!(job = %id, "the credential cannot be opened: {why}");
            ResetCode::NotGranted
        })?;
        self.send(Response { offer: id, secret }).await
    }

    /// The next frame: its first byte until a time of ours, the rest of it soon after.
    async fn next_frame(&mut self, until: Instant, allowed: &[Kind]) -> Result<Incoming, ResetCode> {
        let header = tokio::select! {
            header = tokio::time::timeout_at(until.into(), self.receiver.header_of(allowed)) => header,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        let header = header.map_err(|_| ResetCode::Expired)?.map_err(|e| code_of(&e))?;
        // Most tasks are small; the few places for large ones are not waited for.
        let _place = match header.length > SMALL {
            true => Some(self.shared.large.take(self.network()).ok_or(ResetCode::OverCapacity)?),
            false => None,
        };
        let frame = tokio::select! {
            frame = tokio::time::timeout(PAYLOAD, self.receiver.expect_of(allowed)) => frame,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        frame.map_err(|_| ResetCode::Stalled)?.map_err(|e| code_of(&e))
    }

    /// Waits for the Dispatch for as long as the Offer is good, with at most one Challenge before it, and opens what is sealed
    /// in it.
    async fn expect_task(&mut self, id: OfferId, offer: &Offer, shown: Option<Hash>) -> Result<Task, ResetCode> {
        let until = Instant::now() + Duration::from_secs(offer.valid_s.into());
        let mut frame = self.next_frame(until, &[Kind::Dispatch, Kind::Challenge]).await?;
        if frame.kind == Kind::Challenge {
            self.respond(id, &frame).await?;
            frame = self.next_frame(until, &[Kind::Dispatch]).await?;
        }
        let dispatch = frame.open::<Dispatch>(self.connection.version(), self.connection.node());
        let dispatch = dispatch.map_err(|e| code_of(&e))?;
        let dispatch = dispatch.message();
        if dispatch.offer != id || dispatch.worker != self.shared.node() {
            return Err(ResetCode::WrongPeer);
        }
        let task = self.shared.sealing.open(dispatch, shown).map_err(|e| e.reset_code())?;
        let bytes = task.inputs.iter().try_fold(0u64, |sum, e| sum.checked_add(e.size));
        let same = task.hash() == offer.task
            && task.inputs.len() as u64 == u64::from(offer.inputs.count)
            && bytes == Some(offer.inputs.bytes);
        if !same {
            return Err(ResetCode::TaskMismatch);
        }
        manifest_check(&task.inputs).map_err(|_| ResetCode::Malformed)?;
        Ok(task)
    }

    /// Runs the job while saying that it lives; ends it when the requester resets, time is up, or the node goes down. What is said
    /// meanwhile is left in the outbox and never waited for: a requester that does not read stops no clock.
    async fn execute(&mut self, outbox: &Outbox, id: OfferId, offer: &Offer, task: Task) -> Result<Product, ResetCode> {
        let variant = Variant::of_profile(&offer.profile).ok_or(ResetCode::Malformed)?;
        let inputs = RemoteInputs::new(&self.shared.cache, self.connection, id, &task.inputs);
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
        // Nothing may come now.
        let said = self.receiver.frame_of(&[]);
        let unread = outbox.failed();
        tokio::pin!(said, unread);
        loop {
            tokio::select! {
                product = &mut running => return product.map_err(|e| run_error(id, &e)),
                word = &mut said => return Err(match word {
                    Ok(Some(_)) => ResetCode::Unexpected,
                    Ok(None) => ResetCode::Cancelled,
                    Err(e) => code_of(&e),
                }),
                e = &mut unread => return Err(code_of(&e)),
                () = &mut limit => return Err(ResetCode::TimeLimit),
                () = &mut withdrawn => return Err(ResetCode::Withdrawn),
                () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
                _ = ticker.tick() => outbox.progress(&watched.borrow_and_update()),
            }
        }
    }

    async fn settle(&mut self, commit: &Commit) -> Result<(), ResetCode> {
        let (id, task, price, digest) = (commit.offer, commit.task, commit.price, commit.outcome.digest());
        let settle = match self.expect_settle(id).await {
            Ok(settle) => settle,
            Err(e) => {
                // A result that its requester resets is not wanted; of one that has gone it may still come back for it.
                if !matches!(e, Unsettled::Gone(_)) {
                    self.shared.forget(&id);
                }
                return Err(e.code());
            }
        };
        // Before the requester knows, who may have a next job at once.
        self.shared.forget(&id);
        let same = settle.offer == id
            && settle.worker == self.shared.node()
            && (settle.digest, settle.task, settle.price) == (digest, task, price);
        if !same {
            return Err(ResetCode::Malformed);
        }
        tracing::info!(job = %id, verdict = ?settle.verdict, "settled");
        self.send(settle).await
    }

    async fn expect_settle(&mut self, id: OfferId) -> Result<Settle, Unsettled> {
        let kept = self.shared.results.left(&id).unwrap_or(SETTLE);
        let frame = tokio::select! {
            frame = tokio::time::timeout(kept, self.receiver.expect_of(&[Kind::Settle])) => frame,
            () = self.shared.shutdown.cancelled() => return Err(Unsettled::Ended(ResetCode::ShuttingDown)),
        };
        let frame = frame.map_err(|_| Unsettled::Ended(ResetCode::Expired))?;
        let opened = frame.and_then(|f| f.open::<Settle>(self.connection.version(), self.connection.node()));
        match opened {
            Ok(settle) => Ok(settle.message().clone()),
            Err(e @ StreamError::Lost(_)) => Err(Unsettled::Gone(code_of(&e))),
            Err(e) => Err(Unsettled::Ended(code_of(&e))),
        }
    }

    /// Lets what was said last arrive.
    async fn farewell(self) {
        if let Some(mut sender) = self.sender {
            sender.finish();
            let _ = tokio::time::timeout(WRITE, sender.delivered()).await;
        }
    }
}

/// Why there is no Settle.
enum Unsettled {
    /// The connection broke.
    Gone(ResetCode),
    /// The requester, or this worker, ended the job.
    Ended(ResetCode),
}

impl Unsettled {
    fn code(self) -> ResetCode {
        let (Self::Gone(code) | Self::Ended(code)) = self;
        code
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
