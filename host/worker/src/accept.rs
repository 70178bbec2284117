//! Connections and streams: who may have how many, and what a stream is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_net::{Connection, Endpoint, JobStream, StreamError};
use eider_protocol::{Kind, ResetCode};
use tokio_util::task::TaskTracker;

use crate::worker::Shared;
use crate::{deliver, job};

/// A stream whose first message does not come in this time is reset.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// A connection that had a job and has none, nor a stream, is closed after this time: it holds one of the few wide windows.
/// Requesters of ours close theirs after half of it.
const SPENT: Duration = Duration::from_secs(120);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Streams of one connection that have not said yet what they are for; further ones are reset.
const UNSAID_MAX: usize = 64;

pub(crate) async fn accept(shared: Arc<Shared>, tasks: TaskTracker) {
    loop {
        let incoming = tokio::select! {
            incoming = shared.endpoint.accept() => incoming,
            () = shared.shutdown.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        // Retry and refusal are the gate's to decide, before a signature is made for a stranger.
        let Some((incoming, handshake)) = incoming.pass(&shared.gate) else { continue };
        let (shared, streams) = (shared.clone(), tasks.clone());
        tasks.spawn(async move {
            match Endpoint::finish(incoming).await {
                Ok(connection) => match handshake.proven(connection.node()) {
                    Ok(_admitted) => serve_connection(&shared, &connection, &streams).await,
                    Err(_) => connection.close(ResetCode::TooMany),
                },
                Err(e) => tracing::debug!("handshake failed: {e}"),
            }
        });
    }
}

async fn serve_connection(shared: &Arc<Shared>, connection: &Connection, tasks: &TaskTracker) {
    let requester = connection.node();
    tracing::debug!(%requester, address = %connection.remote_address(), "connected");
    let unsaid = Arc::new(tokio::sync::Semaphore::new(UNSAID_MAX));
    // Counts the tasks of its streams.
    let streams = Arc::new(());
    let mut used = Instant::now();
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if Arc::strong_count(&streams) > 1 {
                    used = Instant::now();
                } else if connection.spent() && used.elapsed() > SPENT {
                    return connection.close(ResetCode::JobEnded);
                }
                continue;
            }
        };
        used = Instant::now();
        let Ok(stream) = stream else { break };
        let Ok(permit) = unsaid.clone().try_acquire_owned() else {
            let mut stream = stream;
            stream.reset(ResetCode::TooMany);
            continue;
        };
        let (shared, connection, counted) = (shared.clone(), connection.clone(), streams.clone());
        tasks.spawn(async move {
            let _counted = counted;
            serve_stream(&shared, &connection, stream, permit).await;
        });
    }
}

/// The code to answer an error with.
pub(crate) fn code_of(e: &StreamError) -> ResetCode {
    e.reset_code().unwrap_or(ResetCode::Cancelled)
}

async fn serve_stream(
    shared: &Arc<Shared>,
    connection: &Connection,
    mut stream: JobStream,
    unsaid: tokio::sync::OwnedSemaphorePermit,
) {
    let first = stream.receiver.expect_of(&[Kind::Offer, Kind::Verify]);
    let first = match tokio::time::timeout(FIRST_MESSAGE, first).await {
        Ok(Ok(first)) => first,
        Ok(Err(e)) => return stream.reset(code_of(&e)),
        Err(_) => return stream.reset(ResetCode::Stalled),
    };
    // From here on, what it may hold is counted by what it is: held Bids by admission, deliveries by results.
    drop(unsaid);
    if first.kind == Kind::Offer {
        return job::serve(shared, connection, stream, &first).await;
    }
    if let Err(code) = deliver::serve(shared, connection, &mut stream, &first).await {
        tracing::debug!(requester = %connection.node(), "delivery reset: {code}");
        stream.reset(code);
    }
}
