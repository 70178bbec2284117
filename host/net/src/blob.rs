//! Verified streaming: BLAKE3's tree over 16 KiB chunk groups travels with the bytes, in pre-order, so each group is
//! checked against the root before it is handed on (the bao format, with `bao-tree`).
//!
//! Hashing and file reads run on a blocking thread; QUIC stays on the runtime. Memory is bounded by two small queues.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{CreateOutboard, DecodeResponseIter, encode_ranges, encode_ranges_validated};
use bao_tree::io::{BaoContentItem, DecodeError, EncodeError, round_up_to_chunks};
use bao_tree::{BaoTree, BlockSize, ByteRanges, ChunkRanges};
use bytes::Bytes;
use eider_protocol::CHUNK_GROUP_LOG;
use tokio::sync::mpsc;

use crate::stream::{Receiver, Sender, StreamError};

const BLOCK: BlockSize = BlockSize::from_chunk_log(CHUNK_GROUP_LOG);
/// Bytes that leave for QUIC at once: large enough that the queue costs nothing.
const PIECE: usize = 256 << 10;
/// Pieces between the thread and the runtime.
const QUEUE: usize = 8;

/// Hashes of a blob's tree: 64 bytes for each 16 KiB.
pub type Outboard = PreOrderOutboard<Vec<u8>>;

/// A file and its hashes.
#[derive(Clone, Debug)]
pub struct Source {
    /// The bytes.
    pub file: Arc<File>,
    /// Their tree.
    pub outboard: Arc<Outboard>,
    /// Check each group before it is sent: for files that somebody else may change.
    pub checked: bool,
}

/// Why a blob did not go through.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A group that does not belong to the root.
    #[error("bytes do not match the root at {0}")]
    WrongBytes(u64),
    /// The source no longer has the bytes that were hashed.
    #[error("the file is no longer what was hashed")]
    Changed,
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Reading the source or writing the sink.
    #[error(transparent)]
    Io(io::Error),
}

/// Hashes a whole file of `size` bytes.
///
/// # Errors
/// Reading, or a file that is shorter.
pub fn file_outboard(file: &mut impl Read, size: u64) -> io::Result<Outboard> {
    let buffered = io::BufReader::with_capacity(1 << 20, file);
    Outboard::create_sized(buffered, size, BLOCK)
}

fn chunks(start: u64, end: u64) -> ChunkRanges {
    if start == 0 && end == 0 {
        // the empty blob has one (empty) leaf
        return ChunkRanges::all();
    }
    round_up_to_chunks(&ByteRanges::from(start..end))
}

/// Sends bytes `start..end` of a source with their proof. Both must be multiples of 16 KiB or the end.
///
/// # Errors
/// [`BlobError`].
pub async fn send(sender: &mut Sender, source: Source, start: u64, end: u64) -> Result<(), BlobError> {
    let (tx, mut rx) = mpsc::channel(QUEUE);
    let encoder = tokio::task::spawn_blocking(move || {
        let mut out = Pieces { tx, buffer: Vec::with_capacity(PIECE) };
        let ranges = chunks(start, end);
        let (file, outboard) = (&*source.file, &*source.outboard);
        if source.checked {
            encode_ranges_validated(file, outboard, &ranges, &mut out)?;
        } else {
            encode_ranges(file, outboard, &ranges, &mut out)?;
        }
        out.flush().map_err(EncodeError::Io)
    });
    while let Some(piece) = rx.recv().await {
        sender.bytes(piece).await?;
    }
    match encoder.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(EncodeError::Io(e))) if e.kind() == io::ErrorKind::UnexpectedEof => Err(BlobError::Changed),
        Ok(Err(EncodeError::Io(e))) => Err(BlobError::Io(e)),
        Ok(Err(_)) => Err(BlobError::Changed),
        Err(e) => Err(BlobError::Io(io::Error::other(e))),
    }
}

/// Gathers an encoder's small writes.
struct Pieces {
    tx: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE + (64 << 10)));
        self.tx.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Receives bytes `start..end` of the blob with this root and size. `sink` is called on a blocking thread with each
/// verified group and its offset, in order; nothing unverified reaches it.
///
/// # Errors
/// [`BlobError`]; what the sink had before is verified.
pub async fn receive<S>(
    receiver: &mut Receiver,
    root: blake3::Hash,
    size: u64,
    (start, end): (u64, u64),
    mut sink: S,
) -> Result<(), BlobError>
where
    S: FnMut(u64, &[u8]) -> io::Result<()> + Send + 'static,
{
    let (tx, rx) = mpsc::channel::<Bytes>(QUEUE);
    let mut decoder = tokio::task::spawn_blocking(move || -> Result<(), BlobError> {
        let tree = BaoTree::new(size, BLOCK);
        let ranges = chunks(start, end);
        for item in DecodeResponseIter::new(root, tree, Feed { rx, current: Bytes::new() }, &ranges) {
            match item.map_err(of_decode)? {
                BaoContentItem::Leaf(leaf) => sink(leaf.offset, &leaf.data).map_err(BlobError::Io)?,
                BaoContentItem::Parent(_) => {}
            }
        }
        Ok(())
    });
    let mut tx = Some(tx);
    let mut stream_error = None;
    loop {
        tokio::select! {
            done = &mut decoder => {
                let done = done.unwrap_or_else(|e| Err(BlobError::Io(io::Error::other(e))));
                return match (done, stream_error) {
                    // The decoder only saw its feed end: what ended it is the better reason.
                    (Err(BlobError::Stream(StreamError::Ended)), Some(e)) => Err(BlobError::Stream(e)),
                    (done, _) => done,
                };
            }
            piece = receiver.bytes(), if tx.is_some() => match piece {
                Ok(Some(bytes)) => {
                    if let Some(queue) = &tx && queue.send(bytes).await.is_err() {
                        tx = None;
                    }
                }
                Ok(None) => tx = None,
                Err(e) => {
                    stream_error = Some(e);
                    tx = None;
                }
            },
        }
    }
}

fn of_decode(e: DecodeError) -> BlobError {
    match e {
        DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => BlobError::Stream(StreamError::Ended),
        DecodeError::LeafHashMismatch(chunk) => BlobError::WrongBytes(chunk.to_bytes()),
        DecodeError::ParentHashMismatch(node) => BlobError::WrongBytes(node.chunk_range().start.to_bytes()),
        DecodeError::Io(e) => BlobError::Io(e),
    }
}

/// The runtime's pieces as a blocking reader.
struct Feed {
    rx: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Feed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.rx.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let n = out.len().min(self.current.len());
        out[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}
