//! Huge pages for an engine's memory: a cell is used once, so all that its query touches is touched for the first time,
//! and page faults of 4 KiB are a good part of a short query.

use std::ffi::c_void;
use std::fs;

use rustix::mm::{Advice, madvise};

/// Linear memory is the one reservation of this size in a cell: 4 GiB less the pages of the snapshot.
const RESERVED_MIN: usize = 2 << 30;

/// Asks for huge pages in the part of linear memory that is reserved and not yet used. Without them a cell works as well.
pub(crate) fn advise() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for line in maps.lines() {
        let Some((start, length)) = reservation(line) else { continue };
        advise_range(start, length);
    }
}

/// Start and length of a mapping that nothing can access yet and that is as large as only linear memory is.
fn reservation(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    if words.next()? != "---p" {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let length = end.checked_sub(start)?;
    (length >= RESERVED_MIN).then_some((start, length))
}

#[expect(unsafe_code, reason = "madvise takes an address range")]
fn advise_range(start: usize, length: usize) {
    // SAFETY: the range is a mapping of this process, and this advice changes neither its contents nor its access.
    let _ = unsafe { madvise(start as *mut c_void, length, Advice::LinuxHugepage) };
}
