//! How much a cache may have of everything, and what its spans are.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::map;

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
