//! Writing from a `select!` loop: frames are left in an outbox, and a small task of its own hands them over, so that a peer
//! that does not read stops no timer.

use std::time::Duration;

use eider_protocol::{Body, Kind, Progress, ResetCode, Signed};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::stream::{Sender, StreamError};

/// Frames that wait in order: a job has at most a Bid, a Response, a Commit and a Settle under way.
const QUEUE: usize = 8;

/// Owns the writing half of a stream. Dropping it resets the stream as cancelled, at once, also in the middle of a frame.
#[derive(Debug)]
pub struct Outbox {
    frames: mpsc::Sender<Item>,
    progress: watch::Sender<Option<Vec<u8>>>,
    failure: watch::Receiver<Option<StreamError>>,
    end: Option<oneshot::Sender<ResetCode>>,
    limit: Duration,
}

#[derive(Debug)]
enum Item {
    Frame { kind: Kind, payload: Vec<u8>, written: Option<oneshot::Sender<()>> },
    Return(oneshot::Sender<Sender>),
}

impl Outbox {
    /// An outbox for a stream whose peer has `limit` for each frame. Must be called within a tokio runtime.
    pub fn new(mut sender: Sender, limit: Duration) -> Self {
        sender.owned = true;
        let (frames, queue) = mpsc::channel(QUEUE);
        let (progress, latest) = watch::channel(None);
        let (failed, failure) = watch::channel(None);
        let (end, ended) = oneshot::channel();
        tokio::spawn(Writer { sender, queue, latest, limit }.run(failed, ended));
        Self { frames, progress, failure, end: Some(end), limit }
    }

    /// Leaves the latest Progress; it takes the place of one that has not left yet. Never waits. A Progress that is still here
    /// when a frame is left in order is forgotten: it never follows a Commit that was left after it.
    pub fn progress(&self, progress: &Progress) {
        self.progress.send_replace(Some(progress.to_payload()));
    }

    /// Leaves a frame, in order. Never waits.
    ///
    /// # Errors
    /// What ended the stream; [`StreamError::Stalled`] when the queue is full.
    pub fn post(&self, kind: Kind, payload: Vec<u8>) -> Result<(), StreamError> {
        self.put(Item::Frame { kind, payload, written: None })
    }

    /// Leaves a signed message, in order. Never waits.
    ///
    /// # Errors
    /// As [`Outbox::post`].
    pub fn post_signed<T: Body>(&self, message: &Signed<T>) -> Result<(), StreamError> {
        self.post(T::KIND, message.to_payload())
    }

    /// Leaves a frame, in order, and waits until it is handed over, at most the limit. May be dropped: the frame leaves
    /// whole all the same.
    ///
    /// # Errors
    /// What ended the stream; [`StreamError::Stalled`] when the time is up.
    pub async fn send(&self, kind: Kind, payload: Vec<u8>) -> Result<(), StreamError> {
        let (written, done) = oneshot::channel();
        self.put(Item::Frame { kind, payload, written: Some(written) })?;
        self.answer(done).await
    }

    /// Resolves when nothing more can leave, with the reason. May be dropped.
    pub async fn failed(&self) -> StreamError {
        let mut failure = self.failure.clone();
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or(StreamError::Stalled)
    }

    /// The writing half again, when all that was left here is handed over, at most after the limit.
    ///
    /// # Errors
    /// As [`Outbox::send`]; the stream is then reset.
    pub async fn into_sender(mut self) -> Result<Sender, StreamError> {
        let (back, returned) = oneshot::channel();
        self.put(Item::Return(back))?;
        let mut sender = self.answer(returned).await?;
        self.end = None;
        sender.owned = false;
        Ok(sender)
    }

    /// Ends the stream with a code, at once.
    pub fn reset(mut self, code: ResetCode) {
        if let Some(end) = self.end.take() {
            let _ = end.send(code);
        }
    }

    fn put(&self, item: Item) -> Result<(), StreamError> {
        self.frames.try_send(item).map_err(|_| self.reason())
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, StreamError> {
        match timeout(self.limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(self.reason()),
        }
    }

    fn reason(&self) -> StreamError {
        self.failure.borrow().clone().unwrap_or(StreamError::Stalled)
    }
}

struct Writer {
    sender: Sender,
    queue: mpsc::Receiver<Item>,
    latest: watch::Receiver<Option<Vec<u8>>>,
    limit: Duration,
}

impl Writer {
    async fn run(mut self, failed: watch::Sender<Option<StreamError>>, ended: oneshot::Receiver<ResetCode>) {
        let back = tokio::select! {
            biased;
            code = ended => return self.sender.reset(code.unwrap_or(ResetCode::Cancelled)),
            done = self.write() => done,
        };
        match back {
            // If nobody takes it any more, it is dropped and so reset.
            Ok(back) => drop(back.send(self.sender)),
            Err(e) => {
                self.sender.reset(e.reset_code().unwrap_or(ResetCode::Stalled));
                failed.send_replace(Some(e));
            }
        }
    }

    /// Writes until the sender is wanted back.
    async fn write(&mut self) -> Result<oneshot::Sender<Sender>, StreamError> {
        loop {
            let item = tokio::select! {
                biased;
                item = self.queue.recv() => item,
                changed = self.latest.changed() => {
                    let latest = changed.ok().and_then(|()| self.latest.borrow_and_update().clone());
                    match latest {
                        Some(payload) => {
                            self.sender.frame_within(Kind::Progress, &payload, self.limit).await?;
                            continue;
                        }
                        None => None,
                    }
                }
            };
            self.latest.mark_unchanged();
            match item {
                Some(Item::Frame { kind, payload, written }) => {
                    self.sender.frame_within(kind, &payload, self.limit).await?;
                    if let Some(written) = written {
                        let _ = written.send(());
                    }
                }
                Some(Item::Return(back)) => return Ok(back),
                // The outbox is gone, and its end says with which code.
                None => std::future::pending().await,
            }
        }
    }
}
