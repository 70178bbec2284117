//! Sending: a blocking thread fills a piece while the one before it leaves for QUIC.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::walk::{Step, Walk};
use super::{BlobError, Hashes, ReadAt, Source};
use crate::pace::{Meter, Pace};
use crate::sealed::Sealing;
use crate::stream::{Sender, StreamError};

/// Bytes that a blocking thread reads at once: large enough that starting it costs nothing.
const PIECE: usize = 256 << 10;
/// What the last step of a piece may add: a group, or a pair of hashes.
const STEP_MAX: usize = 16 << 10;

/// Sends bytes `start..end` of a source with their proof. Both must be multiples of 16 KiB or the end; an empty range is
/// refused, unless the blob is empty. The stream is not finished.
///
/// If this fails, or is dropped before it is done, the stream holds half a blob: nothing more can be sent on it, and it is
/// reset when the [`Sender`] is dropped.
///
/// # Errors
/// [`BlobError`].
pub async fn send(sender: &mut Sender, source: &Source, start: u64, end: u64, pace: Pace) -> Result<(), BlobError> {
    let mut meter = Meter::new(pace);
    let encoder = Encoder::new(source, start, end)?;
    sender.begin()?;
    // Pieces are sealed where they are read.
    let mut encoding = Encoder { sealing: sender.sealing.take(), ..encoder }.encode();
    loop {
        let (encoder, mut piece, last) = encoding.await.map_err(|e| BlobError::Io(io::Error::other(e)))??;
        let next = if last { Err(encoder.sealing) } else { Ok(encoder.encode()) };
        while !piece.is_empty() {
            let taken = meter.wait(sender.some(&mut piece)).await??;
            meter.moved(taken);
        }
        match next {
            Ok(next) => encoding = next,
            Err(sealing) => {
                sender.sealing = sealing;
                break;
            }
        }
    }
    sender.end();
    Ok(())
}

struct Encoder {
    walk: Walk,
    bytes: Arc<dyn ReadAt>,
    hashes: Arc<dyn Hashes>,
    checked: bool,
    sealing: Option<Sealing>,
}

/// The encoder again, a piece, and whether it is the last.
type Encoded = Result<(Encoder, Bytes, bool), BlobError>;

impl Encoder {
    fn new(source: &Source, start: u64, end: u64) -> Result<Self, BlobError> {
        let (bytes, hashes) = (source.bytes.clone(), source.outboard.clone());
        let walk = Walk::new(hashes.root(), hashes.size(), start, end)?;
        Ok(Self { walk, bytes, hashes, checked: source.checked, sealing: None })
    }

    /// The next piece, on a blocking thread that waits for nothing but the disk.
    fn encode(self) -> JoinHandle<Encoded> {
        tokio::task::spawn_blocking(move || self.piece())
    }

    /// The next piece.
    fn piece(mut self) -> Encoded {
        let mut piece = Vec::with_capacity(PIECE + STEP_MAX);
        let mut last = false;
        while piece.len() < PIECE && !last {
            match self.walk.next() {
                Some(step) => self.step(&step, &mut piece)?,
                None => last = true,
            }
        }
        let piece = match &mut self.sealing {
            Some(sealing) => sealing.seal(&piece).map_err(StreamError::from)?,
            None => piece.into(),
        };
        Ok((self, piece, last))
    }

    fn step(&mut self, step: &Step, piece: &mut Vec<u8>) -> Result<(), BlobError> {
        let proven = match step {
            Step::Pair(pair) => {
                let missing = || BlobError::Io(io::Error::new(io::ErrorKind::InvalidData, "hashes are missing"));
                let (left, right) = self.hashes.pair(pair.node).map_err(BlobError::Io)?.ok_or_else(missing)?;
                piece.extend_from_slice(left.as_bytes());
                piece.extend_from_slice(right.as_bytes());
                !self.checked || self.walk.pair_is(pair, &left, &right)
            }
            Step::Group(group) => {
                let at = piece.len();
                piece.resize(at + group.size, 0);
                self.bytes.read_exact_at(group.offset, &mut piece[at..]).map_err(|e| match e.kind() {
                    io::ErrorKind::UnexpectedEof => BlobError::Changed,
                    _ => BlobError::Io(e),
                })?;
                !self.checked || self.walk.group_is(group, &piece[at..])
            }
        };
        if proven { Ok(()) } else { Err(BlobError::Changed) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bao_tree::io::round_up_to_chunks;
    use bao_tree::io::sync::encode_ranges;
    use bao_tree::{ByteRanges, ChunkRanges};

    use super::*;
    use crate::blob::file_outboard;

    struct Memory(Vec<u8>);

    impl ReadAt for Memory {
        fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            let from = self.0.get(offset as usize..).and_then(|from| from.get(..into.len()));
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    fn blob(size: usize) -> Vec<u8> {
        (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
    }

    fn source(bytes: &[u8], held: Vec<u8>, checked: bool) -> Source {
        let outboard = file_outboard(&mut &*bytes, bytes.len() as u64).unwrap();
        Source { bytes: Arc::new(Memory(held)), outboard: Arc::new(outboard), checked }
    }

    fn encoded(source: &Source, start: u64, end: u64) -> Result<Vec<u8>, BlobError> {
        let mut all = Vec::new();
        let mut encoder = Some(Encoder::new(source, start, end)?);
        while let Some(e) = encoder {
            let (rest, piece, last) = e.piece()?;
            assert!(piece.len() <= PIECE + STEP_MAX);
            all.extend_from_slice(&piece);
            encoder = Some(rest).filter(|_| !last);
        }
        Ok(all)
    }

    #[test]
    fn the_stream_is_that_of_bao_tree() {
        let group = 16 << 10;
        for size in [0, 1, 1024, group - 1, group, group + 1, 2 * group, 5 * group + 77, 64 * group, 100 * group + 1025]
        {
            let bytes = blob(size);
            let outboard = file_outboard(&mut &*bytes, size as u64).unwrap();
            let ends = [group, 2 * group, 3 * group, 63 * group, size];
            for (start, end) in
                [0, group, 2 * group, 48 * group, 100 * group].iter().flat_map(|s| ends.map(|e| (*s, e)))
            {
                if (start >= end && size > 0) || end > size || start > size {
                    continue;
                }
                let ranges = match size {
                    0 => ChunkRanges::all(),
                    _ => round_up_to_chunks(&ByteRanges::from(start as u64..end as u64)),
                };
                let mut expected = Vec::new();
                encode_ranges(&*bytes, &outboard, &ranges, &mut expected).unwrap();
                for checked in [false, true] {
                    let source = source(&bytes, bytes.clone(), checked);
                    assert!(encoded(&source, start as u64, end as u64).unwrap() == expected, "{size}: {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn empty_or_crooked_ranges_are_refused() {
        let bytes = blob(100_000);
        let source = source(&bytes, bytes.clone(), false);
        for (start, end) in [
            (0, 0),
            (16_384, 16_384),
            (32_768, 16_384),
            (100_000, 100_000),
            (0, 100_001),
            (1, 16_384),
            (0, 16_383),
            (114_688, 131_072),
        ] {
            assert!(matches!(encoded(&source, start, end), Err(BlobError::Range { .. })), "{start}..{end}");
        }
        let nothing = self::source(&[], Vec::new(), true);
        assert!(encoded(&nothing, 0, 0).unwrap().is_empty());
    }

    #[test]
    fn a_checked_source_sends_no_group_that_changed() {
        let bytes = blob(300_000);
        let mut changed = bytes.clone();
        changed[200_000] ^= 1;
        let source = source(&bytes, changed, true);
        assert!(matches!(encoded(&source, 0, 300_000), Err(BlobError::Changed)));
        assert!(matches!(encoded(&source, 196_608, 212_992), Err(BlobError::Changed)));
        assert!(encoded(&source, 0, 196_608).is_ok());
        let short = self::source(&bytes, bytes[..299_999].to_vec(), false);
        assert!(matches!(encoded(&short, 0, 300_000), Err(BlobError::Changed)));
    }
}
