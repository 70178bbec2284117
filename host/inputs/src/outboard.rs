//! Trees of files: hashed while the file is read once, kept in memory while they are small, and else in one file that
//! has no name, so that a terabyte costs megabytes.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bao_tree::io::sync::outboard_post_order;
use bao_tree::{BaoTree, BlockSize, TreeNode};
use eider_protocol::CHUNK_GROUP_LOG;

/// Bytes that can be read at any place.
pub trait ReadAt: Send + Sync {
    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// Reading; [`io::ErrorKind::UnexpectedEof`] if the bytes are no longer there.
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// The BLAKE3 tree of such bytes, over chunk groups of 16 KiB.
pub trait Hashes: Send + Sync {
    /// The root.
    fn root(&self) -> blake3::Hash;
    /// Bytes that were hashed.
    fn size(&self) -> u64;
    /// The hashes of a node's two children; `None` for a node inside a chunk group.
    ///
    /// # Errors
    /// Reading.
    fn pair(&self, node: TreeNode) -> io::Result<Option<(blake3::Hash, blake3::Hash)>>;
}

const BLOCK: BlockSize = BlockSize::from_chunk_log(CHUNK_GROUP_LOG);
/// Bytes of a pair of hashes.
const PAIR: usize = 64;
/// What is written to the file at once.
const PIECE: usize = 256 << 10;

/// How much of a job's trees may stay in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InMemory {
    /// Of one file.
    pub(crate) each: u64,
    /// Of all files together.
    pub(crate) all: u64,
}

/// The largest tree that is kept in memory: that of an input of 1 GiB.
const OUTBOARD_IN_MEMORY: u64 = 4 << 20;
/// All of one job's: a requester has many jobs, and each may have ten thousand files.
const OUTBOARDS_IN_MEMORY: u64 = 64 << 20;

impl Default for InMemory {
    fn default() -> Self {
        Self { each: OUTBOARD_IN_MEMORY, all: OUTBOARDS_IN_MEMORY }
    }
}

/// Which side failed.
#[derive(Debug)]
pub(crate) enum HashError {
    Read(io::Error),
    Scratch(io::Error),
}

/// Makes the trees of one job's files.
#[derive(Debug)]
pub(crate) struct Outboards {
    scratch: PathBuf,
    limits: InMemory,
    in_memory: u64,
    /// The file without a name, made when it is first needed, and its end.
    spill: Option<(Arc<File>, u64)>,
}

/// One file's tree, in post-order.
#[derive(Debug)]
pub(crate) struct Outboard {
    root: blake3::Hash,
    tree: BaoTree,
    pairs: Pairs,
}

#[derive(Debug)]
enum Pairs {
    Memory(Vec<u8>),
    Spilled { file: Arc<File>, at: u64 },
}

impl Outboards {
    pub(crate) fn new(scratch: PathBuf, limits: InMemory) -> Self {
        Self { scratch, limits, in_memory: 0, spill: None }
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Hashes `size` bytes of `data`.
    pub(crate) fn hash(&mut self, data: impl Read, size: u64) -> Result<Outboard, HashError> {
        let tree = BaoTree::new(size, BLOCK);
        let length = tree.outboard_size();
        if length <= self.limits.each.min(self.limits.all - self.in_memory) {
            let mut pairs = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            let root = outboard_post_order(data, tree, &mut pairs).map_err(HashError::Read)?;
            self.in_memory += length;
            return Ok(Outboard { root, tree, pairs: Pairs::Memory(pairs) });
        }
        let (file, at) = match self.spill.take() {
            Some(spill) => spill,
            None => (Arc::new(tempfile::tempfile_in(&self.scratch).map_err(HashError::Scratch)?), 0),
        };
        // If hashing fails, the next tree takes the place of this one.
        self.spill = Some((file.clone(), at));
        let mut out = Appended { file: &file, at, failed: false };
        let root = {
            let mut buffered = BufWriter::with_capacity(PIECE, &mut out);
            outboard_post_order(data, tree, &mut buffered).and_then(|root| buffered.flush().map(|()| root))
        };
        let failed = out.failed;
        let root = root.map_err(|e| if failed { HashError::Scratch(e) } else { HashError::Read(e) })?;
        self.spill = Some((file.clone(), at + length));
        Ok(Outboard { root, tree, pairs: Pairs::Spilled { file, at } })
    }
}

/// Writes one piece after the other, and remembers that it could not.
struct Appended<'a> {
    file: &'a File,
    at: u64,
    failed: bool,
}

impl Write for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.at);
        self.failed = written.is_err();
        self.at += written.as_ref().map_or(0, |n| *n as u64);
        written
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Hashes for Outboard {
    fn root(&self) -> blake3::Hash {
        self.root
    }

    fn size(&self) -> u64 {
        self.tree.size()
    }

    fn pair(&self, node: TreeNode) -> io::Result<Option<(blake3::Hash, blake3::Hash)>> {
        let Some(offset) = self.tree.post_order_offset(node) else { return Ok(None) };
        let offset = offset.value() * PAIR as u64;
        let mut pair = [0; PAIR];
        match &self.pairs {
            Pairs::Memory(pairs) => {
                let from = usize::try_from(offset).ok().and_then(|at| pairs.get(at..at + PAIR));
                pair.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            }
            Pairs::Spilled { file, at } => file.read_exact_at(&mut pair, at + offset)?,
        }
        let half = |at: usize| {
            let mut hash = [0; PAIR / 2];
            hash.copy_from_slice(&pair[at..at + PAIR / 2]);
            blake3::Hash::from_bytes(hash)
        };
        Ok(Some((half(0), half(PAIR / 2))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use bao_tree::io::sync::{DecodeResponseIter, encode_ranges_validated};
    use bao_tree::io::{BaoContentItem, round_up_to_chunks};
    use bao_tree::{ByteRanges, ChunkRanges};

    use super::*;

    struct Tree<'a>(&'a dyn Hashes);

    impl bao_tree::io::sync::Outboard for Tree<'_> {
        fn root(&self) -> blake3::Hash {
            self.0.root()
        }
        fn tree(&self) -> BaoTree {
            BaoTree::new(self.0.size(), BLOCK)
        }
        fn load(&self, node: TreeNode) -> io::Result<Option<(blake3::Hash, blake3::Hash)>> {
            self.0.pair(node)
        }
    }

    struct Bytes<'a>(&'a dyn ReadAt);

    impl bao_tree::io::sync::ReadAt for Bytes<'_> {
        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            self.0.read_exact_at(offset, into).map(|()| into.len())
        }
    }

    /// Sends and receives a range as two nodes do, and answers the bytes that the root proved.
    pub(crate) fn proven(bytes: &dyn ReadAt, hashes: &dyn Hashes, start: u64, end: u64) -> Vec<u8> {
        let all = start == 0 && end == hashes.size();
        let ranges = if all { ChunkRanges::all() } else { round_up_to_chunks(&ByteRanges::from(start..end)) };
        let mut sent = vec![];
        encode_ranges_validated(Bytes(bytes), Tree(hashes), &ranges, &mut sent).unwrap();
        let mut got = vec![];
        for item in DecodeResponseIter::new(hashes.root(), BaoTree::new(hashes.size(), BLOCK), &sent[..], &ranges) {
            if let BaoContentItem::Leaf(leaf) = item.unwrap() {
                got.extend_from_slice(&leaf.data);
            }
        }
        got
    }

    impl ReadAt for Vec<u8> {
        fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            let from = self.get(offset as usize..offset as usize + into.len());
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    #[test]
    fn trees_past_either_limit_go_to_one_file_and_prove_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut outboards = Outboards::new(dir.path().into(), InMemory { each: 1024, all: 1536 });
        let sizes =
            [0, 1, 16 << 10, 200 << 10, (16 << 10) + 1, 300 << 10, (1 << 20) + 7, 200 << 10, 200 << 10, 32 << 10];
        let made: Vec<_> = sizes
            .iter()
            .map(|size| {
                let data: Vec<u8> = (0..*size).map(|n| (n / 7 % 251) as u8).collect();
                let outboard = outboards.hash(&data[..], *size).unwrap();
                (data, outboard)
            })
            .collect();
        for (data, outboard) in &made {
            assert_eq!(outboard.root(), blake3::hash(data));
            assert!(proven(data, outboard, 0, data.len() as u64) == *data);
        }
        let (data, outboard) = &made[6];
        assert!(proven(data, outboard, 512 << 10, 528 << 10) == data[512 << 10..528 << 10]);
        let spilled: Vec<_> = made.iter().map(|(_, o)| matches!(o.pairs, Pairs::Spilled { .. })).collect();
        assert_eq!(spilled, [false, false, false, false, false, true, true, true, true, false]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_fails_is_told_and_its_place_is_taken_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut outboards = Outboards::new(dir.path().into(), InMemory { each: 0, all: 0 });
        let data = vec![5; 100 << 10];
        assert!(matches!(outboards.hash(&data[..], 101 << 10), Err(HashError::Read(_))));
        let outboard = outboards.hash(&data[..], 100 << 10).unwrap();
        assert!(proven(&data, &outboard, 0, 100 << 10) == data);
        let mut nowhere = Outboards::new(dir.path().join("none"), InMemory { each: 0, all: 0 });
        assert!(matches!(nowhere.hash(&data[..], 100 << 10), Err(HashError::Scratch(_))));
    }
}
