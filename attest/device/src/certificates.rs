//! The certificates that a host of SEV-SNP hands to its guests beside a report (GHCB specification, publication 56421,
//! "SNP Extended Guest Request"): a table of GUID, offset and length, ended by an entry of zeros, and the bytes after it.

use crate::tsm::TsmError;

/// An entry: 16 bytes of GUID, 4 of offset from the table's start, 4 of length, little endian.
const ENTRY: usize = 24;
/// Entries that are read; a host has five.
const ENTRIES_MAX: usize = 16;

/// A GUID as it is in memory: its first three numbers little endian.
const fn guid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let r = rest;
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]]
}

/// What a verifier wants, in the order in which it wants it: the key's certificate, its issuers, revocation lists.
const WANTED: [[u8; 16]; 5] = [
    // VCEK.
    guid(0x63da_758d, 0xe664, 0x4564, [0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd]),
    // VLEK, which a cloud has in its place.
    guid(0xa807_4bc2, 0xa25a, 0x483e, [0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1]),
    // ASK, or ASVK.
    guid(0x4ab7_b379, 0xbbac, 0x4fe4, [0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82]),
    // ARK.
    guid(0xc0b4_06a4, 0xa803, 0x4952, [0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae]),
    // CRL.
    guid(0x92f8_1bc3, 0x5811, 0x4d3d, [0x97, 0xff, 0xd1, 0x9f, 0x88, 0xdc, 0x67, 0xea]),
];

/// The certificates of a host's table, DER, as [`eider_attest::snp`] wants them. A table without any gives none.
///
/// # Errors
/// [`TsmError::Certificates`] when it is no such table.
pub fn certificates(table: &[u8]) -> Result<Vec<Vec<u8>>, TsmError> {
    let mut found: [Option<&[u8]>; WANTED.len()] = [None; WANTED.len()];
    let mut entries = table.chunks_exact(ENTRY);
    for entry in entries.by_ref().take(ENTRIES_MAX) {
        let (guid, place) = entry.split_at(16);
        if guid.iter().all(|byte| *byte == 0) {
            return Ok(found.into_iter().flatten().map(<[u8]>::to_vec).collect());
        }
        let number = |at: usize| {
            let bytes = [place[at], place[at + 1], place[at + 2], place[at + 3]];
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let bytes = table.get(number(0)..number(0).saturating_add(number(4)));
        let bytes = bytes.ok_or(TsmError::Certificates("an entry is beyond the table's end"))?;
        if let Some(n) = WANTED.iter().position(|wanted| wanted == guid) {
            found[n] = Some(bytes);
        }
    }
    Err(TsmError::Certificates("it has no last entry"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
        let mut at = (entries.len() + 1) * ENTRY;
        let (mut table, mut after) = (vec![], vec![]);
        for (guid, bytes) in entries {
            table.extend_from_slice(guid);
            table.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
            table.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
            after.extend_from_slice(bytes);
            at += bytes.len();
        }
        table.extend_from_slice(&[0; ENTRY]);
        [table, after].concat()
    }

    #[test]
    fn certificates_come_in_the_order_that_a_verifier_wants() {
        let [vcek, _, ask, ark, crl] = WANTED;
        let whole = table(&[(crl, b"crl"), (ark, b"ark"), ([9; 16], b"else"), (vcek, b"vcek"), (ask, b"ask")]);
        let words: [&[u8]; 4] = [b"vcek", b"ask", b"ark", b"crl"];
        assert_eq!(certificates(&whole).unwrap(), words);
        assert_eq!(certificates(&table(&[])).unwrap(), Vec::<Vec<u8>>::new());
    }

    /// The table is as the Linux kernel's documentation prints the VCEK's GUID.
    #[test]
    fn a_guid_in_memory_has_its_first_numbers_turned() {
        assert_eq!(WANTED[0][..8], [0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45]);
    }

    #[test]
    fn a_table_cut_or_changed_anywhere_is_refused_or_read_within_its_bounds() {
        let whole = table(&[(WANTED[0], b"vcek"), (WANTED[2], b"ask")]);
        for cut in 0..whole.len() {
            let _ = certificates(&whole[..cut]);
        }
        assert!(certificates(&whole[..2 * ENTRY]).is_err() && certificates(&[]).is_err());
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let _ = certificates(&changed);
            }
        }
        let mut beyond = whole.clone();
        beyond[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(certificates(&beyond).is_err());
    }
}
