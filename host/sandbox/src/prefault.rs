//! Page faults taken ahead of need: a cell is used once, so all that its query touches is touched for the first time, and
//! faults of 4 KiB are a good part of a short query. None of this changes what the engine sees.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read};

use rustix::mm::{Advice, MprotectFlags, madvise, mprotect};

/// The unused part of linear memory is the one reservation of this size in a cell: 4 GiB less the pages of the snapshot.
const RESERVED_MIN: usize = 2 << 30;

const HUGE: usize = 2 << 20;
/// What a short query grows by, and a little.
const FIRST: usize = 5 << 18;

/// The process's map, opened while files can be.
pub(crate) struct Maps(Option<File>);

impl Maps {
    pub(crate) fn open() -> Self {
        Self(File::open("/proc/self/maps").ok())
    }

    /// Maps the image's code and the snapshot's memory now, and asks for huge pages where linear memory will grow. Costs
    /// an idle cell the snapshot's 15 MB, and up to 3 for what grows first. Where the kernel has none of it, a cell works
    /// as well, a little slower.
    ///
    /// # Errors
    /// Memory that must not be accessible could not be made so again: the cell is not to be used.
    pub(crate) fn prefault(self) -> io::Result<()> {
        const MAPS_MAX: u64 = 1 << 20;
        let mut maps = String::new();
        // Through `take`, which asks for no size: the jail stands, and there is no system call for that.
        if self.0.and_then(|file| file.take(MAPS_MAX).read_to_string(&mut maps).ok()).is_none() {
            return Ok(());
        }
        for mapping in maps.lines().filter_map(Mapping::parse) {
            let advice = match mapping.access {
                "---p" if mapping.length >= RESERVED_MIN => {
                    advise(mapping.start, mapping.length, Advice::LinuxHugepage);
                    populate_reserved(mapping.start)?;
                    continue;
                }
                "r-xp" if mapping.of_image => Advice::LinuxPopulateRead,
                "rw-p" if mapping.of_image => Advice::LinuxPopulateWrite,
                _ => continue,
            };
            advise(mapping.start, mapping.length, advice);
        }
        Ok(())
    }
}

/// Gives the first part of the reservation its pages. They stay zero, and inaccessible until linear memory grows over them.
/// The snapshot ends inside a huge page, so what grows first would be faulted in by 4 KiB.
#[expect(unsafe_code, reason = "mprotect takes an address range")]
fn populate_reserved(start: usize) -> io::Result<()> {
    let to_boundary = start.next_multiple_of(HUGE) - start;
    let length = if to_boundary < FIRST { to_boundary + HUGE } else { to_boundary };
    let at = start as *mut c_void;
    // SAFETY: the range is the start of a reservation of at least 2 GiB in which nothing is. No other thread touches it, and
    // the engine does not run meanwhile.
    unsafe {
        if mprotect(at, length, MprotectFlags::READ | MprotectFlags::WRITE).is_ok() {
            let _ = madvise(at, length, Advice::LinuxPopulateWrite);
        }
        // wasmtime relies on it that an access there ends in a trap.
        Ok(mprotect(at, length, MprotectFlags::empty())?)
    }
}

/// A line of `/proc/self/maps`.
struct Mapping<'a> {
    start: usize,
    length: usize,
    access: &'a str,
    of_image: bool,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let access = words.next()?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some(Self { start, length: end.checked_sub(start)?, access, of_image: line.ends_with(".cwasm") })
    }
}

#[expect(unsafe_code, reason = "madvise takes an address range")]
fn advise(start: usize, length: usize, advice: Advice) {
    // SAFETY: the range is a mapping of this process as the kernel has just listed it, and none of these advices changes
    // its contents or its access.
    let _ = unsafe { madvise(start as *mut c_void, length, advice) };
}
