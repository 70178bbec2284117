//! Connections and streams: who may have how many, and what a stream is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eider_net::{Connection, Endpoint, JobStream};
use eider_protocol::{Kind, ResetCode};
use tokio_util::task::TaskTracker;

use crate::uses::ConnectionUses;
use crate::worker::Shared;
use crate::{deliver, job};

/// A stream whose first message does not come in this time is reset.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// A connection without a job, a delivery and a Bid in favour is closed after this time, and one that holds one of the few wide
/// windows also if it has such a Bid. Requesters of ours close theirs after half of it.
const SPENT: Duration = Duration::from_secs(120);
/// A peer from which nothing comes for this long is gone, also where QUIC waits for longer ([`Connection::received`]).
const SILENT: Duration = Duration::from_secs(15);
/// How often these are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
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
    let uses = ConnectionUses::new();
    let (mut received, mut heard) = (0, Instant::now());
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            () = shared.shutdown.cancelled() => return,
            _ = look.tick() => {
                if connection.received() != received {
                    (received, heard) = (connection.received(), Instant::now());
                }
                if heard.elapsed() > SILENT {
                    return connection.close(ResetCode::Stalled);
                }
                if uses.none_for(SPENT, connection.spent()) {
                    return connection.close(ResetCode::JobEnded);
                }
                continue;
            }
        };
        let Ok(stream) = stream else { break };
        let Ok(permit) = unsaid.clone().try_acquire_owned() else {
            let mut stream = stream;
            stream.reset(ResetCode::TooMany);
            continue;
        };
        let (shared, connection, uses) = (shared.clone(), connection.clone(), uses.clone());
        tasks.spawn(async move { serve_stream(&shared, &connection, &uses, stream, permit).await });
    }
}

async fn serve_stream(
    shared: &Arc<Shared>,
    connection: &Connection,
    uses: &ConnectionUses,
    mut stream: JobStream,
    unsaid: tokio::sync::OwnedSemaphorePermit,
) {
    let first = async {
        let first = stream.receiver.expect_of(&[Kind::Offer, Kind::Sealed]).await.map_err(|e| e.code())?;
        if first.kind == Kind::Offer {
            Ok(first)
        } else {
            deliver::question(shared, connection, &mut stream, &first).await
        }
    };
    let first = match tokio::time::timeout(FIRST_MESSAGE, first).await {
        Ok(Ok(first)) => first,
        Ok(Err(code)) => return stream.reset(code),
        Err(_) => return stream.reset(ResetCode::Stalled),
    };
    // From here on, what it may hold is counted by what it is: Bids that wait, jobs and results by their places.
    drop(unsaid);
    if first.kind == Kind::Offer {
        return job::serve(shared, connection, uses, stream, &first).await;
    }
    if let Err(code) = deliver::serve(shared, connection, uses, &mut stream, &first).await {
        tracing::debug!(requester = %connection.node(), "delivery reset: {code}");
        stream.reset(code);
    }
}
