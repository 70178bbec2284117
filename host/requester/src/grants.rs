//! What dispatched workers may fetch of this node's inputs, and how much of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eider_inputs::Inputs;
use eider_net::{BlobError, Connection, JobStream, Pace, Source};
use eider_protocol::{CHUNK_GROUP_BYTES, Fetch, JobSecret, Kind, Lane, NodeId, OfferId, ResetCode, Sealed};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engines::Handouts;

/// Input streams of one connection at a time; a worker has as many reads under way as jobs, which is fewer.
const FETCHES_MAX: usize = 64;
/// Times that a worker may fetch all of its inputs: once, and again what broke off.
const FETCH_FACTOR: u64 = 2;
/// Bytes more, for each file: spans are fetched whole.
const FETCH_ROUNDING: u64 = 1 << 20;
/// A stream that a worker opens says in this time what it wants.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// A worker that does not take its input at this pace is cut off: it asks again, if it lives.
const PACE: Pace = Pace { least: 64 << 10, within: Duration::from_secs(20) };

/// What one dispatched worker may fetch.
struct Grant {
    /// Who has it besides is the worker that opened the Dispatch: whoever asks must show it.
    secret: JobSecret,
    inputs: Inputs,
    /// Bytes that it may still ask for.
    left: AtomicU64,
    served: AtomicU64,
    /// Told once, with the reason, when an input is not what it was.
    failed: mpsc::Sender<String>,
    /// Ends what is under way.
    ended: CancellationToken,
}

/// All grants of a node, and the engines that it hands out.
#[derive(Default)]
pub(crate) struct Grants {
    pub(crate) engines: Handouts,
    table: Mutex<HashMap<(OfferId, NodeId), Arc<Grant>>>,
}

/// A grant that ends when this is dropped, however its job ends.
pub(crate) struct Granted {
    grants: Arc<Grants>,
    key: (OfferId, NodeId),
    grant: Arc<Grant>,
}

impl Grants {
    /// Lets a worker fetch the inputs of a job, with what its Dispatch gave it.
    pub(crate) fn give(
        self: &Arc<Self>,
        secret: JobSecret,
        node: NodeId,
        inputs: Inputs,
        failed: mpsc::Sender<String>,
    ) -> Granted {
        let summary = inputs.summary();
        let rounding = u64::from(summary.count).saturating_mul(FETCH_ROUNDING);
        let left = summary.bytes.saturating_mul(FETCH_FACTOR).saturating_add(rounding);
        let (left, served, ended) = (AtomicU64::new(left), AtomicU64::new(0), CancellationToken::new());
        let key = (secret.offer(), node);
        let grant = Arc::new(Grant { secret, inputs, left, served, failed, ended });
        self.table.lock().insert(key, grant.clone());
        Granted { grants: self.clone(), key, grant }
    }
}

impl Granted {
    /// Bytes that were fetched.
    pub(crate) fn served(&self) -> u64 {
        self.grant.served.load(Ordering::Relaxed)
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.grants.table.lock().remove(&self.key);
        self.grant.ended.cancel();
    }
}

/// Serves granted inputs, and engines, on the streams that a worker opens, until the connection is gone.
pub(crate) async fn serve_inputs(grants: Arc<Grants>, connection: Connection) {
    let tasks = TaskTracker::new();
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    while let Ok(mut stream) = connection.accept().await {
        if tasks.len() >= FETCHES_MAX {
            stream.reset(ResetCode::TooMany);
            continue;
        }
        let (grants, node, ended) = (grants.clone(), connection.node(), ended.clone());
        tasks.spawn(async move {
            let served = tokio::select! {
                served = serve_stream(&grants, node, &mut stream) => served,
                () = ended.cancelled() => return,
            };
            if let Err(code) = served {
                tracing::debug!(worker = %node, "fetch reset: {code}");
                stream.reset(code);
            }
        });
    }
}

/// An engine, or what announces that an input is asked for.
async fn serve_stream(grants: &Grants, node: NodeId, stream: &mut JobStream) -> Result<(), ResetCode> {
    let began = Instant::now();
    let first = tokio::time::timeout(FIRST_MESSAGE, stream.receiver.expect_of(&[Kind::Sealed, Kind::Engine])).await;
    let first = first.map_err(|_| ResetCode::Stalled)?.map_err(|e| e.code())?;
    if first.kind == Kind::Engine {
        return grants.engines.serve(node, stream, &first.payload).await;
    }
    let announced = first.sealed().map_err(|e| e.code())?;
    let question = question(grants, node, stream, announced);
    let question = tokio::time::timeout(FIRST_MESSAGE.saturating_sub(began.elapsed()), question).await;
    let (grant, fetch) = question.map_err(|_| ResetCode::Stalled)??;
    serve_fetch(stream, &grant, &fetch).await
}

/// What is asked for on a stream, by one who has the secret of a job that has the right to ask.
async fn question(
    grants: &Grants,
    node: NodeId,
    stream: &mut JobStream,
    announced: Sealed,
) -> Result<(Arc<Grant>, Fetch), ResetCode> {
    let grant = grants.table.lock().get(&(announced.offer, node)).cloned().ok_or(ResetCode::NotGranted)?;
    stream.asked(&grant.secret, Lane::Fetch, &announced).map_err(|e| e.code())?;
    let frame = stream.receiver.expect_of(&[Kind::Fetch]).await.map_err(|e| e.code())?;
    let fetch = Fetch::decode(&frame.payload).map_err(|e| e.reset_code())?;
    if fetch.offer == announced.offer { Ok((grant, fetch)) } else { Err(ResetCode::NotGranted) }
}

async fn serve_fetch(stream: &mut JobStream, grant: &Grant, fetch: &Fetch) -> Result<(), ResetCode> {
    let input = grant.inputs.pinned().get(fetch.index as usize).ok_or(ResetCode::NotGranted)?;
    let size = input.entry.size;
    let aligned = |n: u64| n.is_multiple_of(CHUNK_GROUP_BYTES) || n == size;
    let empty = fetch.start == fetch.end && size > 0;
    if fetch.start > fetch.end || fetch.end > size || empty || !aligned(fetch.start) || !aligned(fetch.end) {
        return Err(ResetCode::Malformed);
    }
    let bytes = fetch.end - fetch.start;
    let take = |left: u64| left.checked_sub(bytes);
    grant.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| ResetCode::TooMany)?;
    let (data, outboard) = input.source();
    let source = Source { bytes: data, outboard, checked: true };
    let sent = tokio::select! {
        sent = eider_net::send(&mut stream.sender, &source, fetch.start, fetch.end, PACE) => sent,
        () = grant.ended.cancelled() => return Err(ResetCode::JobEnded),
    };
    match sent {
        Ok(()) if input.unchanged() => {
            stream.sender.finish_within(PACE.within).await;
            grant.served.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        }
        Err(BlobError::Stream(e)) => Err(e.reset_code().unwrap_or(ResetCode::Cancelled)),
        Err(BlobError::Slow) => Err(ResetCode::Stalled),
        // A want of descriptors, say: this fetch cannot be served, and the job may go on.
        Err(BlobError::Io(_)) if input.unchanged() => Err(ResetCode::InputUnavailable),
        _ => {
            let why = format!("input {}: {} changed while the job ran", input.entry.table, input.path.display());
            // Full, if it was told already.
            let _ = grant.failed.try_send(why);
            Err(ResetCode::InputChanged)
        }
    }
}
