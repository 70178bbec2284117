//! The one walk through a tree that sender and receiver take, and the check of what lies on the way.

use bao_tree::iter::{BaoChunk, ResponseIter};
use bao_tree::{BaoTree, ChunkNum, ChunkRanges, TreeNode};
use blake3::Hash;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use eider_protocol::CHUNK_GROUP_BYTES;

use super::{BLOCK, BlobError};

/// Bytes of one of BLAKE3's chunks.
const CHUNK: u64 = 1024;

/// What comes next in pre-order.
pub(super) enum Step {
    Pair(Pair),
    Group(Group),
}

/// A node: the hashes of its children.
pub(super) struct Pair {
    pub(super) node: TreeNode,
    root: bool,
    left: bool,
    right: bool,
}

/// A leaf: up to 16 KiB of the blob.
pub(super) struct Group {
    pub(super) offset: u64,
    pub(super) size: usize,
    root: bool,
}

/// Nodes and groups of a range, in the order in which they travel.
pub(super) struct Walk {
    items: ResponseIter,
    /// Hashes that were proven and whose nodes are still to come, the next one last.
    expected: Vec<Hash>,
}

impl Walk {
    /// A walk over `start..end` of a blob of `size` bytes. Both are multiples of 16 KiB or the end; there is something
    /// between them, unless the blob itself is empty.
    pub(super) fn new(root: Hash, size: u64, start: u64, end: u64) -> Result<Self, BlobError> {
        let aligned = |at: u64| at.is_multiple_of(CHUNK_GROUP_BYTES);
        let something = start < end || (size == 0 && start == 0);
        if !something || end > size || !aligned(start) || !(aligned(end) || end == size) {
            return Err(BlobError::Range { start, end, size });
        }
        let first = ChunkNum(start / CHUNK);
        // What reaches to the end is open: so the last group may be shorter, and the empty blob has its one empty group.
        let ranges =
            if end == size { ChunkRanges::from(first..) } else { ChunkRanges::from(first..ChunkNum(end / CHUNK)) };
        Ok(Self { items: ResponseIter::new(BaoTree::new(size, BLOCK), ranges), expected: vec![root] })
    }

    pub(super) fn next(&mut self) -> Option<Step> {
        Some(match self.items.next()? {
            BaoChunk::Parent { node, is_root, left, right, .. } => {
                Step::Pair(Pair { node, root: is_root, left, right })
            }
            BaoChunk::Leaf { start_chunk, size, is_root, .. } => {
                Step::Group(Group { offset: start_chunk.to_bytes(), size, root: is_root })
            }
        })
    }

    /// Whether these are the hashes of the node that came last. If so, its children are expected.
    pub(super) fn pair_is(&mut self, pair: &Pair, left: &Hash, right: &Hash) -> bool {
        let hash = if pair.root {
            merge_subtrees_root(left.as_bytes(), right.as_bytes(), Mode::Hash)
        } else {
            merge_subtrees_non_root(left.as_bytes(), right.as_bytes(), Mode::Hash).into()
        };
        let right = pair.right.then_some(*right);
        let left = pair.left.then_some(*left);
        let proven = self.expected.pop() == Some(hash);
        self.expected.extend([right, left].into_iter().flatten());
        proven
    }

    /// Whether these are the bytes of the group that came last.
    pub(super) fn group_is(&mut self, group: &Group, bytes: &[u8]) -> bool {
        let hash = if group.root {
            blake3::hash(bytes)
        } else {
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(group.offset).update(bytes);
            hasher.finalize_non_root().into()
        };
        self.expected.pop() == Some(hash)
    }
}
