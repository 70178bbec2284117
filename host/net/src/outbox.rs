//! Saying from a `select!` loop that one lives: the latest Progress is left in an outbox, and a small task of its own hands it over,
//! so that a peer that does not read stops no timer.

use std::time::Duration;

use eider_protocol::{Kind, Progress, ResetCode};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::stream::{Sender, StreamError};

/// Owns the writing half of a stream. Dropping it resets the stream as cancelled, at once, also in the middle of a frame.
#[derive(Debug)]
pub struct Outbox {
    progress: watch::Sender<Option<Vec<u8>>>,
    failure: watch::Receiver<Option<StreamError>>,
    wanted: oneshot::Sender<Return>,
    end: oneshot::Sender<ResetCode>,
    limit: Duration,
}

/// Where the writing half is wanted.
type Return = oneshot::Sender<Sender>;

impl Outbox {
    /// An outbox for a stream whose peer has `limit` for each frame. Must be called within a tokio runtime.
    pub fn new(mut sender: Sender, limit: Duration) -> Self {
        sender.owned = true;
        let (progress, latest) = watch::channel(None);
        let (failed, failure) = watch::channel(None);
        let (wanted, back) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        tokio::spawn(Writer { sender, latest, limit }.run(failed, back, ended));
        Self { progress, failure, wanted, end, limit }
    }

    /// Leaves the latest Progress; it takes the place of one that has not left yet. Never waits. One that is still here when the
    /// writing half is wanted back is forgotten.
    pub fn progress(&self, progress: &Progress) {
        self.progress.send_replace(Some(progress.to_payload()));
    }

    /// Resolves when nothing more can leave, with the reason. May be dropped.
    pub async fn failed(&self) -> StreamError {
        let mut failure = self.failure.clone();
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or(StreamError::Stalled)
    }

    /// The writing half again, when the frame that is under way is handed over, at most after the limit.
    ///
    /// # Errors
    /// What ended the stream; [`StreamError::Stalled`] when the time is up, and the stream is then reset.
    pub async fn into_sender(self) -> Result<Sender, StreamError> {
        // Its end is kept until the answer is there: dropped before, it would reset the stream.
        let Self { progress: _progress, failure, wanted, end: _end, limit } = self;
        let (back, returned) = oneshot::channel();
        let _ = wanted.send(back);
        match timeout(limit, returned).await {
            Ok(Ok(mut sender)) => {
                sender.owned = false;
                Ok(sender)
            }
            Ok(Err(_)) | Err(_) => Err(failure.borrow().clone().unwrap_or(StreamError::Stalled)),
        }
    }

    /// Ends the stream with a code, at once.
    pub fn reset(self, code: ResetCode) {
        let _ = self.end.send(code);
    }
}

struct Writer {
    sender: Sender,
    latest: watch::Receiver<Option<Vec<u8>>>,
    limit: Duration,
}

impl Writer {
    async fn run(
        mut self,
        failed: watch::Sender<Option<StreamError>>,
        wanted: oneshot::Receiver<Return>,
        ended: oneshot::Receiver<ResetCode>,
    ) {
        let back = tokio::select! {
            biased;
            code = ended => return self.sender.reset(code.unwrap_or(ResetCode::Cancelled)),
            done = self.write(wanted) => done,
        };
        match back {
            // If nobody takes it any more, it is dropped and so reset.
            Ok(back) => drop(back.send(self.sender)),
            Err(e) => {
                self.sender.reset(e.code());
                failed.send_replace(Some(e));
            }
        }
    }

    /// Writes until the sender is wanted back.
    async fn write(&mut self, wanted: oneshot::Receiver<Return>) -> Result<Return, StreamError> {
        // An outbox that is gone wants nothing back, and its end says with which code.
        let wanted = async {
            match wanted.await {
                Ok(back) => back,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::pin!(wanted);
        loop {
            tokio::select! {
                biased;
                back = &mut wanted => return Ok(back),
                changed = self.latest.changed() => if changed.is_err() {
                    return Ok(wanted.await);
                },
            }
            let latest = self.latest.borrow_and_update().clone();
            if let Some(payload) = latest {
                self.sender.frame_within(Kind::Progress, &payload, self.limit).await?;
            }
        }
    }
}
