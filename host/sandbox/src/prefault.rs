//! Page faults taken ahead of need: a cell is used once, so all that its query touches is touched for the first time, and
//! faults of 4 KiB are a good part of a short query. None of this changes what the engine sees.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::ptr;

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect, mremap_fixed, munmap,
};

/// The unused part of linear memory is the one reservation of this size in a cell: 4 GiB less the pages of the snapshot.
const RESERVED_MIN: usize = 2 << 30;

/// Of the engine's native stack.
const STACK: usize = 256 << 10;
const PAGE: usize = 4 << 10;
const HUGE: usize = 2 << 20;
/// What a short query grows by, and a little.
const FIRST: usize = 5 << 18;

/// The process's map, opened while files can be.
pub(crate) struct Maps(Option<File>);

impl Maps {
    pub(crate) fn open() -> Self {
        Self(File::open("/proc/self/maps").ok())
    }

    /// Of a process that runs no engine.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Maps the image's code now, moves the snapshot's memory into huge pages, and asks for such where linear memory will
    /// grow. Costs an idle cell the 7 MB of DuckDB's snapshot, and up to 5 around it. Where the kernel has none of it, a
    /// cell works as well, a little slower.
    ///
    /// # Errors
    /// Memory is not as it was: the cell is not to be used.
    pub(crate) fn prefault(self) -> io::Result<()> {
        const MAPS_MAX: u64 = 1 << 20;
        let mut maps = String::new();
        // Through `take`, which asks for no size: the jail stands, and there is no system call for that.
        if self.0.and_then(|file| file.take(MAPS_MAX).read_to_string(&mut maps).ok()).is_none() {
            return Ok(());
        }
        populate_stack();
        let maps: Vec<Mapping<'_>> = maps.lines().filter_map(Mapping::parse).collect();
        for (n, mapping) in maps.iter().enumerate() {
            if mapping.is_reservation() {
                advise(&mapping.range, Advice::LinuxHugepage);
            } else if mapping.of_image && mapping.access == "r-xp" {
                advise(&mapping.range, Advice::LinuxHugepage);
                advise(&mapping.range, Advice::LinuxPopulateRead);
            } else if mapping.of_image && mapping.access == "rw-p" {
                LinearMemory::around(n, &maps).move_into_huge_pages()?;
            }
        }
        Ok(())
    }
}

/// Gives this thread the stack that a query is planned on.
fn populate_stack() {
    let here = 0u8;
    let top = ptr::from_ref(&here).addr() / PAGE * PAGE;
    advise(&(top - STACK..top), Advice::LinuxPopulateWrite);
}

/// The linear memory that has a snapshot mapped into it.
struct LinearMemory<'a> {
    snapshot: &'a Range<usize>,
    /// All that is accessible.
    all: Range<usize>,
    /// The reservation follows.
    may_grow: bool,
}

impl<'a> LinearMemory<'a> {
    fn around(snapshot: usize, maps: &'a [Mapping<'a>]) -> Self {
        let (before, after) = (&maps[..snapshot], &maps[snapshot + 1..]);
        let snapshot = &maps[snapshot].range;
        let mut all = snapshot.clone();
        let zeros = |m: &&Mapping<'_>| m.access == "rw-p" && !m.of_image;
        if let Some(m) = before.last().filter(zeros).filter(|m| m.range.end == all.start) {
            all.start = m.range.start;
        }
        let mut after = after.iter().peekable();
        if let Some(m) = after.next_if(|m| zeros(m) && m.range.start == all.end) {
            all.end = m.range.end;
        }
        let may_grow = after.next().is_some_and(|m| m.is_reservation() && m.range.start == all.end);
        Self { snapshot, all, may_grow }
    }

    /// Puts anonymous memory with the same contents in the place of the snapshot, in whole huge pages: the memory around it
    /// and the reservation lend what is missing to a whole one.
    #[expect(unsafe_code, reason = "replacing mapped memory")]
    fn move_into_huge_pages(&self) -> io::Result<()> {
        let down = self.snapshot.start / HUGE * HUGE;
        let start = if down >= self.all.start { down } else { self.snapshot.start.next_multiple_of(HUGE) };
        let up = (self.snapshot.end + FIRST).next_multiple_of(HUGE);
        let end = if up <= self.all.end || self.may_grow { up } else { self.all.end / HUGE * HUGE };
        // Kernels that do not align large mappings leave less than a whole huge page of a small engine's memory.
        if start >= end || start >= self.all.end {
            advise(self.snapshot, Advice::LinuxPopulateWrite);
            return Ok(());
        }
        for rest in [self.snapshot.start..start, end..self.snapshot.end] {
            if !rest.is_empty() {
                advise(&rest, Advice::LinuxPopulateWrite);
            }
        }
        let (length, used) = (end - start, self.all.end.min(end) - start);
        advise(&(start..start + used), Advice::LinuxPopulateRead);
        // SAFETY: `start..start + used` is mapped, readable and written by nobody meanwhile: the engine does not run. The
        // copy takes its place at once; what is beyond `used` is as inaccessible as the reservation that it was.
        unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let Ok(room) = mmap_anonymous(ptr::null_mut(), length + HUGE, access, MapFlags::PRIVATE) else {
                advise(self.snapshot, Advice::LinuxPopulateWrite);
                return Ok(());
            };
            let copy = room.map_addr(|at| at.next_multiple_of(HUGE));
            let _ = madvise(copy, length, Advice::LinuxHugepage);
            let _ = madvise(copy, length, Advice::LinuxPopulateWrite);
            ptr::copy_nonoverlapping(ptr::with_exposed_provenance::<u8>(start), copy.cast(), used);
            mremap_fixed(copy, length, length, MremapFlags::MAYMOVE, ptr::with_exposed_provenance_mut(start))?;
            let lead = copy.addr() - room.addr();
            let _ = munmap(room, lead);
            let _ = munmap(copy.byte_add(length), HUGE - lead);
            Ok(mprotect(ptr::with_exposed_provenance_mut(start + used), length - used, MprotectFlags::empty())?)
        }
    }
}

/// A line of `/proc/self/maps`.
struct Mapping<'a> {
    range: Range<usize>,
    access: &'a str,
    of_image: bool,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let access = words.next()?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        Some(Self { range, access, of_image: line.ends_with(".cwasm") })
    }

    fn is_reservation(&self) -> bool {
        self.access == "---p" && self.range.len() >= RESERVED_MIN
    }
}

#[expect(unsafe_code, reason = "madvise takes an address range")]
fn advise(range: &Range<usize>, advice: Advice) {
    // SAFETY: none of these advices changes the contents or the access of any range, mapped or not.
    let _ = unsafe { madvise(range.start as *mut c_void, range.len(), advice) };
}
