//! Serving a job's inputs to the workers that it was dispatched to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eider_core::{Event, Peer};
use eider_inputs::Inputs;
use eider_net::{BlobError, Connection};
use eider_protocol::{CHUNK_GROUP_BYTES, Fetch, NodeId, ResetCode};
use tokio::sync::mpsc;

use crate::peer::Said;
use crate::requester::Shared;

/// Input streams of one connection at a time.
const FETCHES_MAX: usize = 64;

/// What a dispatched worker may fetch.
pub(crate) struct Grant {
    pub(crate) inputs: Inputs,
    pub(crate) served: AtomicU64,
    pub(crate) failed: mpsc::Sender<(Peer, Said)>,
}

/// Serves granted inputs on the streams that a worker opens, until the connection is gone.
pub(crate) async fn serve_inputs(shared: Arc<Shared>, connection: Connection) {
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
    let grant = shared.grants.lock().get(&(fetch.offer, node)).cloned().ok_or(ResetCode::NotGranted)?;
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
