//! Results that were committed to, kept until they are settled, not wanted, or their time is up; and their delivery.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_net::{BlobError, Connection, Incoming, JobStream, Pace, Prefix};
use eider_protocol::{CHUNK_GROUP_BYTES, Hash, JobSecret, Kind, Lane, NodeId, OfferId, ResetCode, Verify};
use eider_runner::Kept;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::places::Place;
use crate::uses::ConnectionUses;
use crate::worker::Shared;

/// A result is kept for this long after its Commit, and for the time that its bytes take at [`KEPT_RATE`].
const KEPT: Duration = Duration::from_secs(600);
/// Bytes a second at which any requester that means it takes a result.
const KEPT_RATE: u64 = 128 << 10;
/// A requester that takes its result more slowly than this is cut off; it may ask again from where it was.
const PACE: Pace = Pace { least: 64 << 10, within: Duration::from_secs(20) };

/// A result that its requester may open.
struct Held {
    requester: NodeId,
    secret: JobSecret,
    root: Hash,
    length: u64,
    result: Kept,
    until: Instant,
    /// Ends the delivery that is under way: a result has one at a time, the latest that was asked for.
    delivery: Mutex<CancellationToken>,
    _place: Place<Prefix>,
}

/// All of them. How many there may be is for admission to say.
#[derive(Default)]
pub(crate) struct Results {
    table: Mutex<HashMap<OfferId, Arc<Held>>>,
}

impl Results {
    /// Keeps a result.
    pub(crate) fn keep(
        &self,
        secret: JobSecret,
        requester: NodeId,
        (root, length): (Hash, u64),
        result: Kept,
        place: Place<Prefix>,
    ) {
        let until = Instant::now() + KEPT + Duration::from_secs(length / KEPT_RATE);
        let (id, delivery) = (secret.offer(), Mutex::default());
        let held = Held { requester, secret, root, length, result, until, delivery, _place: place };
        self.table.lock().insert(id, Arc::new(held));
    }

    pub(crate) fn remove(&self, id: &OfferId) {
        let removed = self.table.lock().remove(id);
        if let Some(held) = removed {
            held.delivery.lock().cancel();
        }
    }

    /// Those whose time is up.
    pub(crate) fn expired(&self) -> Vec<OfferId> {
        let now = Instant::now();
        self.table.lock().iter().filter(|(_, h)| h.until < now).map(|(id, _)| *id).collect()
    }

    /// How long a result is kept from now on; nothing if it is not.
    pub(crate) fn left(&self, id: &OfferId) -> Option<Duration> {
        self.table.lock().get(id).map(|h| h.until.saturating_duration_since(Instant::now()))
    }

    /// What the streams of a requester's result are sealed with.
    fn secret(&self, id: &OfferId, requester: NodeId) -> Option<JobSecret> {
        self.table.lock().get(id).filter(|h| h.requester == requester).map(|h| h.secret.clone())
    }

    fn open(&self, verify: &Verify, requester: NodeId) -> Result<(Arc<Held>, CancellationToken), ResetCode> {
        let table = self.table.lock();
        let held = table.get(&verify.offer).filter(|h| h.requester == requester).ok_or(ResetCode::WrongPeer)?;
        if verify.root != held.root || verify.offset > held.length || !verify.offset.is_multiple_of(CHUNK_GROUP_BYTES) {
            return Err(ResetCode::Malformed);
        }
        let ours = CancellationToken::new();
        std::mem::replace(&mut *held.delivery.lock(), ours.clone()).cancel();
        Ok((held.clone(), ours))
    }
}

/// Reads the Verify on a stream that was announced as sealed.
///
/// # Errors
/// What the stream is to be reset with; [`ResetCode::WrongPeer`] where no such result is kept for this requester.
pub(crate) async fn question(
    shared: &Shared,
    connection: &Connection,
    stream: &mut JobStream,
    announced: &Incoming,
) -> Result<Incoming, ResetCode> {
    let announced = announced.sealed().map_err(|e| e.code())?;
    let secret = shared.results.secret(&announced.offer, connection.node()).ok_or(ResetCode::WrongPeer)?;
    stream.asked(&secret, Lane::Verify, &announced).map_err(|e| e.code())?;
    stream.receiver.expect_of(&[Kind::Verify]).await.map_err(|e| e.code())
}

/// A Verify stream: the result's bytes, from where the requester has them ([P-STREAM-2]).
pub(crate) async fn serve(
    shared: &Shared,
    connection: &Connection,
    uses: &ConnectionUses,
    stream: &mut JobStream,
    first: &Incoming,
) -> Result<(), ResetCode> {
    let verify = first.open::<Verify>(connection.version(), connection.node()).map_err(|e| e.code())?;
    let verify = verify.message();
    let (held, ended) = shared.results.open(verify, connection.node())?;
    if verify.offset == held.length {
        // It has all of it.
        stream.sender.finish().await;
        return Ok(());
    }
    let (_used, _wide) = (uses.work.begin(), connection.widen());
    let source = held.result.source();
    let sent = tokio::select! {
        sent = eider_net::send(&mut stream.sender, &source, verify.offset, held.length, PACE) => sent,
        () = ended.cancelled() => return Err(ResetCode::NotChosen),
        () = shared.shutdown.cancelled() => return Err(ResetCode::ShuttingDown),
    };
    match sent {
        Ok(()) => {
            stream.sender.finish_within(PACE.within).await;
            // What is under way is QUIC's; it is given up when it does not move.
            tokio::select! {
                _ = tokio::time::timeout(PACE.within, stream.sender.delivered()) => Ok(()),
                () = ended.cancelled() => Err(ResetCode::NotChosen),
                () = shared.shutdown.cancelled() => Err(ResetCode::ShuttingDown),
            }
        }
        Err(BlobError::Stream(e)) => Err(e.code()),
        Err(BlobError::Slow) => Err(ResetCode::Stalled),
        Err(e) => {
            tracing::error!(job = %verify.offer, "a result cannot be delivered: {e}");
            Err(ResetCode::CellFailed)
        }
    }
}
