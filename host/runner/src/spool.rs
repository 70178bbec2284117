//! Between who brings a result and the sink that takes it: the one's time is never the other's.
//!
//! Bytes come from the network as fast as they are verified and leave as fast as the user's pipe takes them. What is
//! between is in memory, and beyond that in an unlinked file. The order is head, file, tail: new bytes go to the head
//! while nothing is behind it, else to the tail, which moves to the file when it is full; the pump empties the head, then
//! the file, and then makes the tail the head.

mod queue;
mod scratch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use self::queue::{Next, Queue};
use self::scratch::Scratch;
use crate::sink::{Sink, same_error};

/// Bytes that wait in memory: what a pipe's reader falls behind by for a moment needs no file.
pub const SPOOL_MEMORY: usize = 8 << 20;
/// Bytes that go to the file, or come from it, at a time: so many that the way to another thread does not count.
const PIECE: usize = 1 << 20;
/// Bytes of the head; the tail has a piece.
const HEAD: usize = SPOOL_MEMORY - PIECE;

/// The task that writes to the sink. It gives the sink back when all has been written after [`SpoolWriter::finish`].
pub type Pump = JoinHandle<io::Result<Box<dyn Sink>>>;

/// A queue of bytes whose writer does not wait for the sink.
#[derive(Debug)]
pub struct Spool;

impl Spool {
    /// Starts a pump to `sink`. What memory does not hold is kept in a file in `folder` of at most `limit` bytes; while
    /// that is full or cannot grow, the writer waits for the sink.
    pub fn start(sink: Box<dyn Sink>, folder: PathBuf, limit: u64) -> (SpoolWriter, Pump) {
        let scratch = Scratch { folder, limit, file: None, start: 0, end: 0 };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            scratch: Arc::new(tokio::sync::Mutex::new(scratch)),
            filled: Notify::new(),
            drained: Notify::new(),
        });
        let (alive, writer) = oneshot::channel();
        let pump = tokio::spawn(pump(shared.clone(), sink, writer));
        (SpoolWriter { shared, alive }, pump)
    }
}

/// The end that bytes are written to. Dropped without [`Self::finish`], it ends the pump at once, whatever is under way.
#[derive(Debug)]
pub struct SpoolWriter {
    shared: Arc<Shared>,
    alive: oneshot::Sender<()>,
}

impl SpoolWriter {
    /// Takes bytes. Waits for a disk at most, except where that is full. If the future is dropped, nobody knows whether
    /// they were taken, and no more may follow.
    ///
    /// # Errors
    /// What the sink has failed with, for this piece or an earlier one.
    pub async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            while !self.shared.queue.lock().take(&piece)? {
                if !self.spill().await {
                    self.shared.drained.notified().await;
                }
            }
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// That was all: the pump ends when the sink has it.
    pub fn finish(self) {
        self.shared.queue.lock().finished = true;
        self.shared.filled.notify_one();
        // A pump that has failed listens no more; its error is in its handle.
        let _ = self.alive.send(());
    }

    /// Moves the tail to the file; whether there is room now.
    async fn spill(&self) -> bool {
        let mut scratch = self.shared.scratch.clone().lock_owned().await;
        let pieces = self.shared.queue.lock().begin_spill();
        if pieces.is_empty() {
            return true;
        }
        let shared = self.shared.clone();
        // The lock goes along: it holds until the file is written, though nobody should wait for that any more.
        let spilling = tokio::task::spawn_blocking(move || {
            let kept = scratch.append(&pieces).is_ok();
            shared.queue.lock().end_spill(if kept { pieces.len() } else { 0 });
            shared.filled.notify_one();
            kept
        });
        spilling.await.unwrap_or(false)
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    scratch: Arc<tokio::sync::Mutex<Scratch>>,
    /// The pump waits for this,
    filled: Notify,
    /// and the writer for this.
    drained: Notify,
}

impl Shared {
    /// The writer is told, and what waits is let go; the first reason counts.
    fn fail(&self, why: io::Error) {
        let mut queue = self.queue.lock();
        (queue.head, queue.tail) = Default::default();
        queue.failure.get_or_insert(why);
        drop(queue);
        self.drained.notify_one();
    }
}

async fn pump(
    shared: Arc<Shared>,
    mut sink: Box<dyn Sink>,
    writer: oneshot::Receiver<()>,
) -> io::Result<Box<dyn Sink>> {
    /// However the pump ends, its writer does not wait for it.
    struct Ended(Arc<Shared>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fail(io::Error::new(io::ErrorKind::BrokenPipe, "the output is closed"));
        }
    }
    let ended = Ended(shared);
    let abandoned = async {
        if writer.await.is_ok() {
            std::future::pending().await
        }
    };
    tokio::select! {
        drained = drain(&ended.0, &mut *sink) => match drained {
            Ok(()) => Ok(sink),
            Err(e) => {
                ended.0.fail(same_error(&e));
                Err(e)
            }
        },
        () = abandoned => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the result was given up")),
    }
}

async fn drain(shared: &Arc<Shared>, sink: &mut dyn Sink) -> io::Result<()> {
    loop {
        let next = shared.queue.lock().next();
        match next {
            Next::Piece(piece) => {
                shared.drained.notify_one();
                sink.write(piece).await?;
            }
            Next::InFile => {
                let mut scratch = shared.scratch.clone().lock_owned().await;
                let piece = tokio::task::spawn_blocking(move || scratch.read()).await.map_err(io::Error::other)??;
                shared.queue.lock().spilled -= piece.len() as u64;
                shared.drained.notify_one();
                sink.write(piece).await?;
            }
            Next::Nothing => shared.filled.notified().await,
            Next::End => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
