//! The file beside an entry's bytes that says which spans of them are there, and what they were: a header, and a mark of eight bytes for
//! each span: zero, or if it is present the beginning of its BLAKE3. A mark is written only after its span was synced, and at its place
//! alone, so that whatever part of the writes a power cut keeps, a span that the map says is there is, or is found not to be its mark's.
//!
//! Header, 128 bytes: magic (8), version and span size (u32 little-endian each), the input's hash (32) and size (u64),
//! the tenant that had it made (32), zeros, and the first 8 bytes of the BLAKE3 of all that.

use std::collections::BTreeMap;

use super::disk::Key;
use eider_protocol::{Hash, NodeId};

const MAGIC: [u8; 8] = *b"eidermap";
/// Of this layout. Another one's files are dropped.
const VERSION: u32 = 3;
/// Bytes before the spans'.
pub(super) const HEADER: u64 = 128;
const CHECKED: usize = 120;
/// Bytes of a span's mark.
pub(super) const MARK: u64 = 8;

/// What a span's bytes are known by when they are read: a disk, or a memory, may give back others than it was given.
pub(super) type Mark = u64;

/// Of these bytes; never zero, which is none.
pub(super) fn mark(span: &[u8]) -> Mark {
    let hash = blake3::hash(span);
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    Mark::from_le_bytes([a, b, c, d, e, f, g, h]).max(1)
}

/// What a map says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) key: Key,
    pub(super) tenant: NodeId,
    /// The spans that are there, by number.
    pub(super) present: BTreeMap<u64, Mark>,
}

/// Bytes of a map.
pub(super) fn length(size: u64, span: u64) -> u64 {
    HEADER + MARK * size.div_ceil(span)
}

/// How it begins.
pub(super) fn header(key: Key, tenant: NodeId, span: u64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&u32::try_from(span).unwrap_or(u32::MAX).to_le_bytes());
    header[16..48].copy_from_slice(key.hash.as_bytes());
    header[48..56].copy_from_slice(&key.size.to_le_bytes());
    header[56..88].copy_from_slice(tenant.as_bytes());
    let check = blake3::hash(&header[..CHECKED]);
    header[CHECKED..].copy_from_slice(&check.as_bytes()[..HEADER as usize - CHECKED]);
    header
}

/// Reads a map; `None` if it is not one of this layout, whole and well-formed.
pub(super) fn parse(bytes: &[u8], span: u64) -> Option<Map> {
    let (head, spans) = bytes.split_at_checked(HEADER as usize)?;
    let id = |at: usize| <[u8; 32]>::try_from(&head[at..at + 32]).ok();
    let size = u64::from_le_bytes(head[48..56].try_into().ok()?);
    let key = Key { hash: Hash::from_bytes(id(16)?), size };
    let tenant = NodeId::from_bytes(id(56)?);
    let (marks, rest) = spans.as_chunks::<{ MARK as usize }>();
    if head != header(key, tenant, span) || marks.len() as u64 != size.div_ceil(span) || !rest.is_empty() {
        return None;
    }
    let marks = (0..).zip(marks.iter().map(|mark| Mark::from_le_bytes(*mark)));
    Some(Map { key, tenant, present: marks.filter(|(_, mark)| *mark != 0).collect() })
}

/// The bytes that say what the spans from this one on are, and where they belong.
pub(super) fn marks(first: u64, marks: impl Iterator<Item = Mark>) -> (u64, Vec<u8>) {
    (HEADER + MARK * first, marks.flat_map(Mark::to_le_bytes).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    const SPAN: u64 = 1 << 20;

    fn example() -> (Map, Vec<u8>) {
        let key = Key { hash: Hash::from_bytes([7; 32]), size: 9 * SPAN + 1 };
        let present = [0, 3, 4, 5, 9].map(|n: u64| (n, mark(&n.to_le_bytes()))).into_iter().collect();
        let map = Map { key, tenant: NodeId::from_bytes([9; 32]), present };
        let mut bytes = header(key, map.tenant, SPAN).to_vec();
        bytes.resize(length(key.size, SPAN) as usize, 0);
        for (n, mark) in &map.present {
            let (at, marks) = marks(*n, [*mark].into_iter());
            bytes[at as usize..][..marks.len()].copy_from_slice(&marks);
        }
        (map, bytes)
    }

    #[test]
    fn a_map_is_read_as_it_was_written_and_under_no_other_layout() {
        let (map, bytes) = example();
        assert_eq!(parse(&bytes, SPAN), Some(map));
        assert_eq!(parse(&bytes, SPAN / 2), None);
        assert_eq!(parse(&bytes[..bytes.len() - 1], SPAN), None);
        assert_eq!(parse(&[bytes.as_slice(), &[0]].concat(), SPAN), None);
        assert_eq!(parse(&[], SPAN), None);
    }

    #[test]
    fn no_damage_to_a_header_is_taken_for_another_header() {
        let (_, bytes) = example();
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut damaged = bytes.clone();
            let at = rng.random_range(0..HEADER as usize);
            damaged[at] ^= rng.random_range(1..=255);
            let cut = rng.random_range(0..=damaged.len());
            assert_eq!(parse(&damaged, SPAN), None, "byte {at}");
            assert!(parse(&bytes[..cut], SPAN).is_none() || cut == bytes.len());
        }
    }
}
