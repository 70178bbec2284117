//! Verified streaming: BLAKE3's tree over 16 KiB chunk groups travels with the bytes, in pre-order, so each group is
//! checked against the root before it is handed on (the bao format, with `bao-tree`).
//!
//! No thread waits for a peer. The sender's blocking threads read one piece each and are done; the receiver hashes a
//! group where it stands, for that takes microseconds. Memory is two pieces for each sender and one slab for each receiver.

mod receive;
mod send;
mod walk;

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{CreateOutboard, Outboard as _};
use bao_tree::{BlockSize, TreeNode};
use blake3::Hash;
use eider_protocol::CHUNK_GROUP_LOG;

use crate::pace::Slow;
use crate::stream::StreamError;

pub use receive::{BlobSink, receive};
pub use send::send;

const BLOCK: BlockSize = BlockSize::from_chunk_log(CHUNK_GROUP_LOG);

/// Hashes of a blob's tree in memory: 64 bytes for each 16 KiB.
pub type Outboard = PreOrderOutboard<Vec<u8>>;

/// Bytes that can be read anywhere. Called on blocking threads.
pub trait ReadAt: Send + Sync {
    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// Reading; [`io::ErrorKind::UnexpectedEof`] where there are fewer bytes.
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }
}

/// A blob's tree with chunk groups of 16 KiB. Called on blocking threads.
pub trait Hashes: Send + Sync {
    /// The root.
    fn root(&self) -> Hash;
    /// Bytes of the blob.
    fn size(&self) -> u64;
    /// Both children of a node.
    ///
    /// # Errors
    /// Reading.
    fn pair(&self, node: TreeNode) -> io::Result<Option<(Hash, Hash)>>;
}

impl Hashes for Outboard {
    fn root(&self) -> Hash {
        self.root
    }
    fn size(&self) -> u64 {
        self.tree.size()
    }
    fn pair(&self, node: TreeNode) -> io::Result<Option<(Hash, Hash)>> {
        self.load(node)
    }
}

/// A blob that can be sent: its bytes and its tree.
#[derive(Clone)]
pub struct Source {
    /// The bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Their tree.
    pub outboard: Arc<dyn Hashes>,
    /// Check each group before it is sent: for files that somebody else may change.
    pub checked: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (root, size) = (self.outboard.root(), self.outboard.size());
        f.debug_struct("Source").field("root", &root).field("size", &size).field("checked", &self.checked).finish()
    }
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
    /// Nothing can be sent for these bounds.
    #[error("bytes {start} to {end} of {size} are empty, outside, or not on 16 KiB boundaries")]
    Range {
        /// First byte.
        start: u64,
        /// After the last byte.
        end: u64,
        /// Bytes of the blob.
        size: u64,
    },
    /// The peer moved fewer bytes than its [`Pace`](crate::Pace). Slowness is nobody's fault.
    #[error("the peer is too slow")]
    Slow,
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Reading the source or writing the sink.
    #[error(transparent)]
    Io(io::Error),
}

impl From<Slow> for BlobError {
    fn from(_: Slow) -> Self {
        Self::Slow
    }
}

/// Hashes a whole file of `size` bytes.
///
/// # Errors
/// Reading, or a file that is shorter.
pub fn file_outboard(file: &mut impl Read, size: u64) -> io::Result<Outboard> {
    let buffered = io::BufReader::with_capacity(1 << 20, file);
    Outboard::create_sized(buffered, size, BLOCK)
}
