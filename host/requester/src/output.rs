//! The verified part of a result on its way to the user: one task owns it, and takes pieces of whatever delivery brings the next.
//! A delivery may be cut off at any point, in the middle of a piece too: what it handed over is taken whole or not at all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use eider_runner::SpoolWriter;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Pieces that wait for the spool, which takes them at the speed of memory or of our disk.
const QUEUE: usize = 4;

/// Where deliveries put what is verified.
#[derive(Clone)]
pub(crate) struct Output {
    pieces: mpsc::Sender<Piece>,
    verified: Arc<AtomicU64>,
}

struct Piece {
    offset: u64,
    bytes: Bytes,
    taken: oneshot::Sender<io::Result<u64>>,
}

impl Output {
    /// An output, and the task that gives the spool back once every handle is dropped.
    pub(crate) fn start(mut writer: SpoolWriter) -> (Self, JoinHandle<SpoolWriter>) {
        let (pieces, mut brought) = mpsc::channel::<Piece>(QUEUE);
        let verified = Arc::new(AtomicU64::new(0));
        let count = verified.clone();
        let keeper = tokio::spawn(async move {
            while let Some(Piece { offset, bytes, taken }) = brought.recv().await {
                let at = count.load(Ordering::Acquire);
                // Two deliverers may bring the same bytes, cut into other pieces.
                let known = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
                let new = bytes.slice(known..);
                let written = if offset > at {
                    Err(io::Error::other("a part of the result is missing"))
                } else if new.is_empty() {
                    Ok(at)
                } else {
                    let end = at + new.len() as u64;
                    writer.write(new).await.map(|()| {
                        count.store(end, Ordering::Release);
                        end
                    })
                };
                // Who brought it may be gone.
                let _ = taken.send(written);
            }
            writer
        });
        (Self { pieces, verified }, keeper)
    }

    /// Bytes that are verified and taken, from the beginning.
    pub(crate) fn verified(&self) -> u64 {
        self.verified.load(Ordering::Acquire)
    }

    /// Hands verified bytes over: how many there are then. May be dropped.
    pub(crate) async fn put(&self, offset: u64, bytes: Bytes) -> io::Result<u64> {
        let (taken, answer) = oneshot::channel();
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.send(Piece { offset, bytes, taken }).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        answer.await.map_err(gone)?
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eider_runner::{MemorySink, Spool};

    use super::*;

    #[tokio::test]
    async fn deliveries_that_overlap_or_are_cut_off_leave_each_byte_once() {
        let sink = MemorySink::default();
        let (writer, pump) = Spool::start(Box::new(sink.clone()), std::env::temp_dir(), 1 << 20);
        let (output, keeper) = Output::start(writer);
        let all: Vec<u8> = (0..200u8).collect();
        let piece = |range: std::ops::Range<usize>| (range.start as u64, Bytes::copy_from_slice(&all[range]));
        let put = |(offset, bytes)| output.put(offset, bytes);
        assert_eq!(put(piece(0..50)).await.unwrap(), 50);
        // Cut off at once: it is taken whole all the same, or not at all.
        drop(tokio::time::timeout(std::time::Duration::ZERO, put(piece(50..90))).await);
        for range in [0..60, 40..100, 30..70, 60..150, 150..150, 100..200] {
            put(piece(range)).await.unwrap();
        }
        assert_eq!(output.verified(), 200);
        assert!(put((300, Bytes::from_static(b"x"))).await.is_err(), "a gap");
        drop(output);
        keeper.await.unwrap().finish();
        pump.await.unwrap().unwrap();
        assert_eq!(sink.take(), all);
    }
}
