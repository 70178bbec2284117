//! One job's stream: an Offer is answered, its Dispatch run, the outcome committed to and settled.
//!
//! What a job holds is in guards: a held Bid, a lease of the donation, a slot, wide windows. A stream whose peer does
//! nothing ends by the Offer's validity, the job's time, or the time for which its outcome is kept, and nothing that it holds is
//! waited for by another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_attest::Envelope;
use eider_core::Refused;
use eider_net::{Connection, Incoming, JobStream, Outbox, Prefix, Receiver, Sender};
use eider_protocol::{
    Accept, Bid, Body, Challenge, Commit, Decline, DeclineReason, Dispatch, Hash, JobSecret, Kind, NodeId, Offer,
    OfferId, Outcome, Progress, ResetCode, Response, Settle, Signed, Stage, Task, manifest_check,
};
use eider_runner::{Product, RunError, Work};
use eider_sandbox::{BrokerError, CellError, Lack, Variant};
use serde_bytes::ByteBuf;
use tokio::sync::watch;

use crate::engines;
use crate::inputs::RemoteInputs;
use crate::places::Place;
use crate::uses::{ConnectionUses, Use};
use crate::worker::{Counted, Shared, unix_now};

/// A requester takes a message in this time, or its job is given up.
const WRITE: Duration = Duration::from_secs(10);
/// A frame that has begun is there after this time.
const PAYLOAD: Duration = Duration::from_secs(20);
/// Bytes of a Dispatch that each held Bid may have, whatever others have.
const SMALL: usize = 64 << 10;
/// How often a running job says that it lives.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How long a Settle is waited for where there is no result to keep. The Commit counts without one.
const SETTLE: Duration = Duration::from_secs(60);

/// Serves a stream that began with an Offer.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    connection: &Connection,
    uses: &ConnectionUses,
    stream: JobStream,
    first: &Incoming,
) {
    let JobStream { receiver, sender } = stream;
    let mut task = JobTask { shared, connection, uses, receiver, sender: Some(sender) };
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
    uses: &'a ConnectionUses,
    receiver: Receiver,
    /// With the outbox while a job runs; gone if that ended the stream.
    sender: Option<Sender>,
}

/// What a Bid in favour holds while it waits for its Dispatch.
type HeldBid = (Place<NodeId>, Place<Prefix>, Use);

/// What a job holds while it runs, beside its lease.
type Slot = (Counted, Option<Place<Prefix>>);

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
        let offer = first.open::<Offer>(self.connection.version(), requester).map_err(|e| e.code())?;
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
        let (task, secret) = self.expect_task(id, offer, shown).await?;
        drop(held);
        let _used = self.uses.work.begin();
        let (leased, slot) = self.admit(id, offer)?;
        let started = Instant::now();
        // From here on the requester is who has sealed the task, and nobody else hears of it.
        self.receiver.unseal(secret.of_dispatcher());
        let (announced, sealer) = secret.worker().map_err(|_| ResetCode::CellFailed)?;
        let mut sender = self.sender.take().ok_or(ResetCode::Cancelled)?;
        sender.seal(sealer, Some(announced));
        let outbox = Outbox::new(sender, WRITE);
        let wide = self.connection.widen();
        let product = match self.execute(&outbox, offer, task, &secret).await {
            Ok(product) => product,
            Err(code) => {
                outbox.reset(code);
                return Err(code);
            }
        };
        drop(wide);
        tracing::info!(job = %id, ms = started.elapsed().as_millis(), outcome = %outcome_word(&product.outcome), "commit");
        // Slot and memory are free again, whatever the requester does now.
        drop(slot);
        let outcome = product.outcome.clone();
        // A failure keeps its lease of nothing until it is settled, so that it is counted.
        let _failure = self.keep(leased, product, secret);
        let commit = Commit { offer: id, task: offer.task, price, outcome };
        let said = match outbox.into_sender().await {
            Ok(sender) => {
                self.sender = Some(sender);
                self.send(commit.clone()).await
            }
            Err(e) => Err(e.code()),
        };
        if let Err(code) = said {
            // Nobody knows of the result.
            self.shared.forget(&id);
            return Err(code);
        }
        self.settle(&commit).await
    }

    /// Whether the job would be run: with a place for the Bid to wait in, and the evidence that the Offer asks for.
    async fn consider(&self, id: OfferId, offer: &Offer) -> Result<(HeldBid, Accept, Option<Arc<Vec<u8>>>), Decline> {
        let busy = |detail: &str| Decline { reason: DeclineReason::Busy, detail: detail.into() };
        let network = self.connection.network();
        let mut accept = self.admissible(offer)?;
        if !is_here(network) {
            accept.free_jobs = accept.free_jobs.min(u32::try_from(self.shared.slots.left(network)).unwrap_or(u32::MAX));
            if accept.free_jobs == 0 {
                return Err(busy("as many jobs run for your network as may"));
            }
        }
        let (by_network, by_requester) = &self.shared.bids;
        let held = by_requester.take(offer.requester).zip(by_network.take(network));
        let (own, of_network) =
            held.ok_or_else(|| busy("too many bids wait for a dispatch from you or your network"))?;
        let held = (own, of_network, self.uses.bids.begin());
        let evidence = match (&self.shared.desk, offer.attest) {
            (Some(desk), Some(demand)) => {
                let sealing = self.shared.sealing.public();
                desk.envelope(&self.shared.identity, sealing, (id, offer), demand, network).await?
            }
            _ => None,
        };
        Ok((held, accept, evidence))
    }

    /// Whether it fits. An engine that is not here may be fetched for it.
    fn admissible(&self, offer: &Offer) -> Result<Accept, Decline> {
        let decline = {
            let admission = self.shared.admission.lock();
            match admission.consider(offer, unix_now()) {
                Err(decline) if decline.reason == DeclineReason::Engine => decline,
                considered => return considered,
            }
        };
        Err(engines::ask(self.shared, offer, self.connection, self.uses, decline))
    }

    fn admit(&self, id: OfferId, offer: &Offer) -> Result<(Leased<'a>, Slot), ResetCode> {
        let network = self.connection.network();
        let place = self.shared.kept.take(network).ok_or(ResetCode::OverCapacity)?;
        let slot = match is_here(network) {
            true => None,
            false => Some(self.shared.slots.take(network).ok_or(ResetCode::OverCapacity)?),
        };
        match self.shared.admission.lock().admit(id, offer, unix_now()) {
            Ok(()) => {
                let leased = Leased { shared: self.shared, id, place: Some(place) };
                Ok((leased, (Counted::new(&self.shared.running), slot)))
            }
            Err(Refused::Twice) => Err(ResetCode::Unexpected),
            Err(Refused::Decline(decline)) if decline.reason == DeclineReason::Expired => Err(ResetCode::Expired),
            Err(Refused::Decline(decline)) => {
                tracing::info!(job = %id, "capacity was taken meanwhile: {}", decline.detail);
                Err(ResetCode::OverCapacity)
            }
        }
    }

    /// Keeps a result until it is settled, its stream ends or its time is up. The lease of a failure, which
    /// has none, comes back.
    fn keep(&self, mut leased: Leased<'a>, product: Product, secret: JobSecret) -> Option<Leased<'a>> {
        let (Outcome::Completed { root, length, .. }, Some(result)) = (&product.outcome, product.result) else {
            self.shared.admission.lock().committed(&leased.id, 0);
            return Some(leased);
        };
        let place = leased.place.take()?;
        self.shared.admission.lock().committed(&leased.id, *length);
        self.shared.results.keep(secret, self.connection.node(), (*root, *length), result, place);
        None
    }

    async fn send<T: Body>(&mut self, message: T) -> Result<(), ResetCode> {
        let signed = Signed::sign(&self.shared.identity, self.connection.version(), message);
        let sender = self.sender.as_mut().ok_or(ResetCode::Cancelled)?;
        sender.send_within(&signed, WRITE).await.map_err(|e| e.code())
    }

    /// Opens the credential of a Challenge and answers it.
    async fn respond(&mut self, id: OfferId, frame: &Incoming) -> Result<(), ResetCode> {
        let challenge = frame.open::<Challenge>(self.connection.version(), self.connection.node());
        let challenge = challenge.map_err(|e| e.code())?.message().clone();
        if challenge.offer != id {
            return Err(ResetCode::WrongPeer);
        }
        let desk = self.shared.desk.as_ref().ok_or(ResetCode::Unexpected)?;
        let opened = desk.activate(self.connection.node(), self.connection.network(), challenge).await;
        let secret = opened.map_err(|e| {
            tracing::warn!(job = %id, "the credential is not opened: {e}");
            e.reset_code()
        })?;
        self.send(Response { offer: id, secret }).await
    }

    /// The next frame: its first byte until a time of ours, the rest of it soon after.
    async fn next_frame(&mut self, until: Instant, allowed: &[Kind]) -> Result<Incoming, ResetCode> {
        let header = tokio::select! {
            header = tokio::time::timeout_at(until.into(), self.receiver.header_of(allowed)) => header,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        let header = header.map_err(|_| ResetCode::Expired)?.map_err(|e| e.code())?;
        // Most tasks are small; the few places for large ones are not waited for.
        let _place = match header.length > SMALL {
            true => Some(self.shared.large.take(self.connection.network()).ok_or(ResetCode::OverCapacity)?),
            false => None,
        };
        let frame = tokio::select! {
            frame = tokio::time::timeout(PAYLOAD, self.receiver.expect_of(allowed)) => frame,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        frame.map_err(|_| ResetCode::Stalled)?.map_err(|e| e.code())
    }

    /// Waits for the Dispatch for as long as the Offer is good, with at most one Challenge before it, and opens what is sealed
    /// in it.
    async fn expect_task(
        &mut self,
        id: OfferId,
        offer: &Offer,
        shown: Option<Hash>,
    ) -> Result<(Task, JobSecret), ResetCode> {
        let until = Instant::now() + Duration::from_secs(offer.valid_s.into());
        let mut frame = self.next_frame(until, &[Kind::Dispatch, Kind::Challenge]).await?;
        if frame.kind == Kind::Challenge {
            self.respond(id, &frame).await?;
            frame = self.next_frame(until, &[Kind::Dispatch]).await?;
        }
        let dispatch = frame.open::<Dispatch>(self.connection.version(), self.connection.node());
        let dispatch = dispatch.map_err(|e| e.code())?;
        let dispatch = dispatch.message();
        if dispatch.offer != id || dispatch.worker != self.shared.node() {
            return Err(ResetCode::WrongPeer);
        }
        let (task, secret) = self.shared.sealing.open(dispatch, shown).map_err(|e| e.reset_code())?;
        let bytes = task.inputs.iter().try_fold(0u64, |sum, e| sum.checked_add(e.size));
        let same = task.hash() == offer.task
            && task.inputs.len() as u64 == u64::from(offer.inputs.count)
            && bytes == Some(offer.inputs.bytes);
        if !same {
            return Err(ResetCode::TaskMismatch);
        }
        manifest_check(&task.inputs).map_err(|_| ResetCode::Malformed)?;
        Ok((task, secret))
    }

    /// Runs the job while saying that it lives; ends it when the requester resets, time is up, or the node goes down. What is said
    /// meanwhile is left in the outbox and never waited for: a requester that does not read stops no clock.
    async fn execute(
        &mut self,
        outbox: &Outbox,
        offer: &Offer,
        task: Task,
        secret: &JobSecret,
    ) -> Result<Product, ResetCode> {
        let id = secret.offer();
        let variant = Variant::of_profile(&offer.profile).ok_or(ResetCode::Malformed)?;
        let inputs = RemoteInputs::new(&self.shared.cache, self.connection, secret, &task.inputs);
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
        let in_use = self.shared.engines.as_ref().and_then(|engines| engines.use_for_job(&offer.engine));
        let engine_gone = async {
            match &in_use {
                Some(in_use) => in_use.gone.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(engine_gone);
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
                    Err(e) => e.code(),
                }),
                e = &mut unread => return Err(e.code()),
                () = &mut limit => return Err(ResetCode::TimeLimit),
                () = &mut withdrawn => return Err(ResetCode::Withdrawn),
                () = &mut engine_gone => return Err(ResetCode::Withdrawn),
                () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
                _ = ticker.tick() => outbox.progress(&watched.borrow_and_update()),
            }
        }
    }

    async fn settle(&mut self, commit: &Commit) -> Result<(), ResetCode> {
        let (id, task, price, digest) = (commit.offer, commit.task, commit.price, commit.outcome.digest());
        let settle = self.expect_settle(id).await;
        // Before the requester knows, who may have a next job at once. Without a Settle too: a result whose stream is reset, or whose
        // connection is gone, is not wanted.
        self.shared.forget(&id);
        let settle = settle?;
        let same = settle.offer == id
            && settle.worker == self.shared.node()
            && (settle.digest, settle.task, settle.price) == (digest, task, price);
        if !same {
            return Err(ResetCode::Malformed);
        }
        tracing::info!(job = %id, verdict = ?settle.verdict, "settled");
        self.send(settle).await
    }

    async fn expect_settle(&mut self, id: OfferId) -> Result<Settle, ResetCode> {
        let kept = self.shared.results.left(&id).unwrap_or(SETTLE);
        let frame = tokio::select! {
            frame = tokio::time::timeout(kept, self.receiver.expect_of(&[Kind::Settle])) => frame,
            () = self.shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
        };
        let frame = frame.map_err(|_| ResetCode::Expired)?.map_err(|e| e.code())?;
        let settle = frame.open::<Settle>(self.connection.version(), self.connection.node()).map_err(|e| e.code())?;
        Ok(settle.message().clone())
    }

    /// Lets what was said last arrive.
    async fn farewell(self) {
        if let Some(mut sender) = self.sender {
            sender.finish().await;
            let _ = tokio::time::timeout(WRITE, sender.delivered()).await;
        }
    }
}

/// Whether it is this machine itself: its own processes are nobody's network.
fn is_here(network: Prefix) -> bool {
    matches!(network, Prefix::V4([127, ..]) | Prefix::V6([0, 0, 0, 0, 0, 0]))
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
        RunError::Cell(CellError::Lacks(Lack::Memory, _)) => ResetCode::OutOfMemory,
        RunError::Cell(CellError::Lacks(Lack::Stack, _)) => ResetCode::StackUsedUp,
        RunError::Cell(_) | RunError::NoImage(..) | RunError::Output(_) => ResetCode::CellFailed,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn only_this_machine_is_nobodys_network() {
        let here = |ip: &str| is_here(eider_net::prefix(SocketAddr::new(ip.parse().unwrap(), 1)));
        assert!(["127.0.0.1", "127.5.6.7", "::1", "::ffff:127.0.0.1"].into_iter().all(here));
        assert!(!["10.0.0.1", "192.0.2.1", "128.0.0.1", "fe80::1", "2001:db8::1"].into_iter().any(here));
    }
}
