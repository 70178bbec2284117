//! A worker's cache of inputs: content-addressed, filled by verified ranges, shared by the jobs of requesters that do
//! not trust each other, kept under the donated disk budget.
//!
//! Each input is one sparse file, named by hash *and* size, with a map of the spans that are present. What a job names
//! is a claim until bytes prove it: naming an input touches no file, its files are made when its last span, which
//! proves the size, was verified, they are made new and never shortened, and only verified bytes are written. A span is
//! present at once for all jobs; the map on the disk says so once the span was synced, so that what an unclean end
//! leaves is true as well. With it the map keeps a mark of the span's bytes, which each job checks when it first reads them: what a disk
//! gives back otherwise than it was given is missing, and is fetched again. A transfer that breaks off is resumed at the first missing span. What cannot be written is
//! given up whole, for a part of it may be on the disk; what cannot be removed is counted and tried again.
//!
//! | held | owner | bound | given back |
//! |---|---|---|---|
//! | lease | a job | as many as its manifest names, memory only | when the job ends |
//! | reservation | a fetch | [`FETCH_MAX`] and an entry's overhead | with the fetch's future |
//! | `fetching` | a tenant's fetch | one for each entry and tenant | with the fetch's future; other tenants do not wait |
//! | descriptor | the cache | [`DESCRIPTORS_MAX`] | least recently used first |
//! | entry on the disk | tenants, by share | [`ENTRIES_MAX`], the budget | idle, of who holds most, oldest first |
//! | folder | the cache, by a lock | one cache | with the cache, or its process |
//! | locks | the cache | – | after the disk, at most; no peer is waited for under one |

mod bounds;
mod disk;
mod lease;
mod ledger;
mod map;
mod state;
mod sweep;

#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use cap_std::fs::Dir;
use eider_protocol::{Hash, NodeId};
use parking_lot::Mutex;

use crate::descriptors::Descriptors;
use bounds::Bounds;
pub use bounds::disk_of;
use disk::{Disk, Folder, Key};
pub use lease::{Fetching, Lease, ReadError, Reservation};
use state::{Entry, OnDisk, Room, State};

/// Granularity of what is fetched and kept: a multiple of 16 KiB chunk groups, about one read of DuckDB's.
const SPAN: u64 = 1 << 20;
/// Most bytes of one fetch, which its fetcher holds in memory until they are filled.
pub const FETCH_MAX: u64 = 8 << 20;
/// Open files at rest: a quarter of the descriptors that a process has by default.
const DESCRIPTORS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
/// Entries on the disk: inodes and the time of a sweep, where inputs are small.
const ENTRIES_MAX: usize = 1 << 16;
/// The largest input: what ext4 can hold as one file. Its map is 128 MiB.
const INPUT_MAX: u64 = 16 << 40;

const BOUNDS: Bounds =
    Bounds { span: SPAN, fetch: FETCH_MAX, entries: ENTRIES_MAX, descriptors: DESCRIPTORS_MAX, input: INPUT_MAX };

/// Why an input cannot be cached.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk.
    #[error("input cache {0}: {1}")]
    Io(String, io::Error),
    /// Another cache has the folder.
    #[error("the input cache is in use by another worker: end that one, or give this one an EIDER_HOME of its own")]
    InUse,
    /// The donated budget is full of inputs that running jobs use.
    #[error("the donated disk ({0} bytes) is full of inputs that running jobs use")]
    Full(u64),
    /// Larger than any that is cached.
    #[error("an input of {0} bytes is larger than a file can be here")]
    TooLarge(u64),
    /// Bytes of an input whose size was not proven by its last span.
    #[error("the last span of an input comes first")]
    Unproven,
    /// Bytes without the room for them.
    #[error("no room was reserved for these bytes of the input")]
    NotReserved,
    /// Not whole spans of the input.
    #[error("{1} bytes at {0} are not whole spans of the input")]
    NotSpans(u64, u64),
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct InputCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Box<dyn Disk>,
    bounds: Bounds,
    /// Of the data, by key and generation: a thread that is late cannot put an older file in a newer one's place.
    descriptors: Descriptors<(Key, u64)>,
    state: Mutex<State>,
    /// Keys whose names were made or removed since the folder was synced, put here after they were and before their
    /// entry's `disk` is given back. A lock of its own: it waits for the disk.
    unsynced: Mutex<HashSet<Key>>,
}

impl InputCache {
    /// A cache in `dir`, which is its own, with at most `budget` bytes. What an earlier run left is used again. Blocks
    /// for as long as reading all maps takes.
    ///
    /// # Errors
    /// [`CacheError::InUse`], [`CacheError::Io`].
    pub fn open(dir: Dir, budget: u64) -> Result<Self, CacheError> {
        let folder = Folder::new(dir).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => CacheError::InUse,
            _ => CacheError::Io("its folder".into(), e),
        })?;
        Self::open_on(Box::new(folder), budget, BOUNDS)
    }

    fn open_on(disk: Box<dyn Disk>, budget: u64, bounds: Bounds) -> Result<Self, CacheError> {
        let mut state = State::new(bounds, budget);
        sweep::sweep(&*disk, &mut state).map_err(|e| CacheError::Io("its folder".into(), e))?;
        let (descriptors, unsynced) = (Descriptors::new(bounds.descriptors), Mutex::default());
        let cache = Self { inner: Arc::new(Inner { disk, bounds, descriptors, state: Mutex::new(state), unsynced }) };
        cache.set_budget(budget);
        Ok(cache)
    }

    /// Bytes of the donated disk that are in use or reserved.
    pub fn used(&self) -> u64 {
        self.inner.state.lock().used()
    }

    /// The use of an input by a job of `tenant`. Nothing is opened, made or proven by it.
    pub fn lease(&self, hash: Hash, size: u64, tenant: NodeId) -> Lease {
        Lease::new(self.inner.clone(), Key { hash, size }, tenant)
    }

    /// Changes the budget. Idle entries above it are given up at once; what jobs use stays until they end. Their files
    /// are removed by a thread that may wait for the disk.
    ///
    /// `bytes` is asked under the cache's lock, and must not use the cache: of two changes at once, the one that is made
    /// last has asked last.
    pub fn change_budget(&self, bytes: impl FnOnce() -> u64) {
        {
            let mut state = self.inner.state.lock();
            state.budget = bytes();
            state.shrink();
        }
        self.inner.remove_doomed_soon();
    }

    fn set_budget(&self, bytes: u64) {
        self.change_budget(|| bytes);
    }

    /// Makes what was filled since the last call survive the end of this run, tries again to remove what could not
    /// be removed, and closes what no job uses. Blocks for as long as the disk takes; to be called every few seconds,
    /// and before the worker ends.
    ///
    /// # Errors
    /// The first [`CacheError::Io`]; the other entries are synced all the same.
    pub fn sync(&self) -> Result<(), CacheError> {
        let dirty = self.inner.state.lock().take_dirty();
        let mut result = Ok(());
        for entry in dirty {
            result = result.and(self.inner.sync_entry(&entry));
        }
        self.inner.state.lock().try_stuck_again();
        self.inner.remove_doomed();
        self.inner.close_unused();
        result
    }
}

impl Inner {
    /// Descriptors are for jobs that read: one that comes later opens its file again.
    fn close_unused(&self) {
        let mut open = self.descriptors.keys();
        {
            let state = self.state.lock();
            open.retain(|(key, _)| !state.is_leased(*key));
        }
        for unused in open {
            self.descriptors.close(&unused);
        }
    }

    fn fill(&self, entry: &Entry, tenant: NodeId, room: &mut Room, start: u64, bytes: &[u8]) -> Result<(), CacheError> {
        let (key, span) = (entry.key, self.bounds.span);
        let length = bytes.len() as u64;
        let end = start.checked_add(length).filter(|end| *end <= key.size);
        let end = end.filter(|end| start.is_multiple_of(span) && (end.is_multiple_of(span) || *end == key.size));
        let end = end.filter(|end| start < *end).ok_or(CacheError::NotSpans(start, length))?;
        let err = |e| CacheError::Io(key.data(), e);
        let _alone = entry.disk.lock();
        let on_disk = self.state.lock().on_disk(entry);
        let generation = if let OnDisk::Files(generation) = on_disk {
            generation
        } else {
            if end != key.size {
                return Err(CacheError::Unproven);
            }
            if room.entries == 0 || room.bytes < length.saturating_add(self.bounds.overhead(key.size)) {
                return Err(CacheError::NotReserved);
            }
            self.unlink(key, on_disk).map_err(err)?;
            self.state.lock().removed(key);
            let data = self.create(key, tenant).map_err(err)?;
            let generation = self.state.lock().created(key, tenant, room);
            self.descriptors.keep((key, generation), Arc::new(data));
            generation
        };
        let run = self.bounds.spans(start, end);
        let gaps = self.state.lock().gaps(key, &run);
        if room.bytes < gaps.iter().map(|gap| self.bounds.count(gap, key.size)).sum() {
            return Err(CacheError::NotReserved);
        }
        if gaps.is_empty() {
            return Ok(());
        }
        let file = self.data(key, generation).map_err(err)?;
        let mut spans = vec![];
        for gap in &gaps {
            let at = self.bounds.bytes(gap, key.size);
            let piece = &bytes[to_index(at.start - start)..to_index(at.end - start)];
            spans.extend(gap.clone().zip(piece.chunks(to_index(span)).map(map::mark)));
            self.disk.write(&key.data(), &file, at.start, piece).map_err(|e| {
                // A part may be on the disk, which nobody is charged for.
                self.state.lock().doom(key);
                err(e)
            })?;
        }
        self.state.lock().filled(key, tenant, &spans, room);
        Ok(())
    }

    /// Makes the two files of an entry, and answers its data. Its `disk` is held, nothing has its names.
    fn create(&self, key: Key, tenant: NodeId) -> io::Result<File> {
        // A map that was removed could come back after a power cut, and speak for the file that is made now.
        self.sync_names(key)?;
        let made = self.disk.create(&key.data(), key.size).and_then(|data| {
            let map = self.disk.create(&key.map(), map::length(key.size, self.bounds.span))?;
            self.disk.write(&key.map(), &map, 0, &map::header(key, tenant, self.bounds.span))?;
            Ok(data)
        });
        self.unsynced.lock().insert(key);
        if made.is_err() && self.unlink(key, OnDisk::Nothing).is_err() {
            self.state.lock().left(key, tenant);
        }
        made
    }

    /// Writes what is present and new into the map of an entry, after its bytes.
    fn sync_entry(&self, entry: &Entry) -> Result<(), CacheError> {
        let key = entry.key;
        let _alone = entry.disk.lock();
        let (on_disk, dirty) = {
            let state = self.state.lock();
            (state.on_disk(entry), state.dirty(key))
        };
        let (OnDisk::Files(generation), Some(dirty)) = (on_disk, dirty) else { return Ok(()) };
        let later = |name: String| {
            move |e| {
                self.state.lock().still_dirty(key);
                CacheError::Io(name, e)
            }
        };
        let data = self.data(key, generation).map_err(later(key.data()))?;
        self.disk.sync(&key.data(), &data).map_err(|e| {
            // The kernel does not keep what it could not write: what was present may be gone.
            self.state.lock().doom(key);
            CacheError::Io(key.data(), e)
        })?;
        self.sync_names(key).and_then(|()| self.sync_map(key, &dirty)).map_err(later(key.map()))?;
        self.state.lock().synced(key, &dirty);
        Ok(())
    }

    fn sync_map(&self, key: Key, dirty: &rangemap::RangeSet<u64>) -> io::Result<()> {
        let file = self.disk.open(&key.map())?;
        for run in dirty.iter() {
            let marks = self.state.lock().marks(key, run);
            let (at, marks) = map::marks(run.start, marks.into_iter());
            self.disk.write(&key.map(), &file, at, &marks)?;
        }
        self.disk.sync(&key.map(), &file)
    }

    /// Waits until the names of an entry, made or removed, are what a power cut leaves.
    fn sync_names(&self, key: Key) -> io::Result<()> {
        let mut unsynced = self.unsynced.lock();
        if unsynced.contains(&key) {
            self.disk.sync_names()?;
            unsynced.clear();
        }
        Ok(())
    }

    /// The data of an entry that has files, opened. One that lost them, by somebody else's hand, is given up.
    fn data(&self, key: Key, generation: u64) -> io::Result<Arc<File>> {
        let opened = self.descriptors.open((key, generation), || self.disk.open(&key.data()));
        if opened.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            self.state.lock().doom(key);
        }
        opened
    }

    /// Removes whatever has the names of an entry, the map first, and the data in any case. Its `disk` is held.
    fn unlink(&self, key: Key, on_disk: OnDisk) -> io::Result<()> {
        if let OnDisk::Files(generation) | OnDisk::Leftovers(generation) = on_disk {
            self.descriptors.close(&(key, generation));
        }
        let (map, data) = (self.disk.unlink(&key.map()), self.disk.unlink(&key.data()));
        if on_disk != OnDisk::Nothing {
            self.unsynced.lock().insert(key);
        }
        map.and(data)
    }

    /// Removes the files of what was given up, on a thread that may wait for the disk; one thread at a time.
    fn remove_doomed_soon(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.removing || !state.any_doomed() {
                return;
            }
            state.removing = true;
        }
        let inner = self.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || inner.remove_doomed())),
            Err(_) => inner.remove_doomed(),
        }
    }

    fn remove_doomed(&self) {
        loop {
            let entry = {
                let mut state = self.state.lock();
                let Some(entry) = state.next_doomed() else {
                    state.removing = false;
                    return;
                };
                entry
            };
            let key = entry.key;
            let _alone = entry.disk.lock();
            let on_disk = self.state.lock().on_disk(&entry);
            if !matches!(on_disk, OnDisk::Leftovers(_)) {
                continue;
            }
            match self.unlink(key, on_disk) {
                Ok(()) => self.state.lock().removed(key),
                Err(e) => {
                    if self.state.lock().not_removed(key) {
                        tracing::warn!("input cache: {} cannot be removed; it is tried again: {e}", key.data());
                    }
                }
            }
        }
    }
}

fn to_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
