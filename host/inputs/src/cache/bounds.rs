//! How much a cache may have of everything, and what its spans are.

use std::num::NonZeroUsize;
use std::ops::Range;

use eider_protocol::InputsSummary;

use super::{SPAN, map};

/// What bounds a cache. Only tests have others than the default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes that are present or missing together.
    pub(super) span: u64,
    /// Most bytes of one fetch.
    pub(super) fetch: u64,
    /// Most entries on the disk.
    pub(super) entries: usize,
    /// Most descriptors at rest.
    pub(super) descriptors: NonZeroUsize,
    /// The largest input.
    pub(super) input: u64,
}

/// What file systems give out at once.
const BLOCK: u64 = 4 << 10;

/// Bytes of the donated disk that a job's inputs take at most in a cache, however their sizes differ: their own, and for
/// each a map and the ends of two blocks, some 8 KiB. `count` 1 is one input of `bytes`.
pub fn disk_of(inputs: &InputsSummary) -> u64 {
    // A map has a mark for each span, of which each input may have a part.
    let each = BLOCK + map::HEADER + map::MARK + (BLOCK - 1);
    inputs.bytes.saturating_add(inputs.bytes / SPAN * map::MARK).saturating_add(u64::from(inputs.count) * each)
}

impl Bounds {
    /// What an entry takes on the disk beside its spans: its map, and the end of its last block.
    pub(super) fn overhead(&self, size: u64) -> u64 {
        BLOCK + map::length(size, self.span).next_multiple_of(BLOCK)
    }

    /// The spans that a range touches.
    pub(super) fn spans(&self, start: u64, end: u64) -> Range<u64> {
        start / self.span..end.div_ceil(self.span)
    }

    /// The bytes of a run of spans.
    pub(super) fn bytes(&self, run: &Range<u64>, size: u64) -> Range<u64> {
        run.start * self.span..run.end.saturating_mul(self.span).min(size)
    }

    /// How many bytes that are.
    pub(super) fn count(&self, run: &Range<u64>, size: u64) -> u64 {
        let bytes = self.bytes(run, size);
        bytes.end - bytes.start
    }
}
