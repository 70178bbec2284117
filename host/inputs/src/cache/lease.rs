//! One job's use of one input.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use eider_protocol::{Hash, NodeId};
use parking_lot::Mutex;
use rangemap::RangeSet;
use tokio::sync::OwnedMutexGuard;

use super::disk::Key;
use super::state::{Entry, Room};
use super::{CacheError, Inner, map, to_index};
use crate::read::read_now;

/// A reference to an input, whether any of it is there or not. While it is held, what is present stays; dropping it
/// ends the use. It holds no descriptor and, for an input of which nothing is present, nothing on the disk.
#[derive(Debug)]
pub struct Lease {
    cache: Arc<Inner>,
    entry: Arc<Entry>,
    tenant: NodeId,
    /// Spans that this job has found to be what was written, of the files of this generation.
    checked: Mutex<(u64, RangeSet<u64>)>,
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(self.cache.clone(), self.entry.key, self.tenant)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.cache.state.lock().release(self.entry.key);
    }
}

/// Room on the donated disk that nobody else gets. What is not filled is given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    cache: Arc<Inner>,
    pub(super) key: Key,
    pub(super) room: Room,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.cache.state.lock().give_back(&mut self.room);
    }
}

/// Why bytes of an input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are not there, or no longer what was written: they can be fetched again.
    #[error("these bytes of the input are not in the cache")]
    Lost,
    /// The file cannot be opened.
    #[error(transparent)]
    Io(io::Error),
}

/// Held by the one job of a tenant that fetches an input.
#[derive(Debug)]
#[must_use = "another job of the tenant fetches as soon as this is dropped"]
pub struct Fetching {
    _alone: OwnedMutexGuard<()>,
}

impl Lease {
    pub(super) fn new(cache: Arc<Inner>, key: Key, tenant: NodeId) -> Self {
        let entry = cache.state.lock().lease(key);
        Self { cache, entry, tenant, checked: Mutex::default() }
    }

    /// The input's hash.
    pub fn hash(&self) -> Hash {
        self.entry.key.hash
    }

    /// Its bytes, as this job claims them.
    pub fn size(&self) -> u64 {
        self.entry.key.size
    }

    /// What to fetch next so that `start..end` comes to be present: whole spans, at most [`super::FETCH_MAX`] bytes.
    /// As long as nothing of the input is there, that is its last span, whatever is asked for: its bytes prove the size
    /// that the job claims. `None` if all of `start..end` is present.
    pub fn next_missing(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        self.cache.state.lock().next_missing(self.entry.key, start, end)
    }

    /// Room for `start..end`, as [`Self::next_missing`] named it, to be had before it is fetched. Entries that no lease
    /// holds are given up for it; their files are removed by a thread that may wait for the disk.
    ///
    /// # Errors
    /// [`CacheError::Full`], [`CacheError::TooLarge`].
    pub fn reserve(&self, start: u64, end: u64) -> Result<Reservation, CacheError> {
        let (cache, key) = (self.cache.clone(), self.entry.key);
        let room = {
            let mut state = cache.state.lock();
            if key.size > state.bounds.input {
                return Err(CacheError::TooLarge(key.size));
            }
            state.reserve(key, end.saturating_sub(start)).ok_or(CacheError::Full(state.budget))?
        };
        cache.remove_doomed_soon();
        Ok(Reservation { cache, key, room })
    }

    /// Waits until no other job of this tenant fetches this input. Other tenants are not waited for: how long they take
    /// is theirs to decide.
    pub async fn fetching(&self) -> Fetching {
        let lock = self.cache.state.lock().fetching(self.entry.key, self.tenant);
        Fetching { _alone: lock.lock_owned().await }
    }

    /// Writes bytes from `start` on that were verified against the input's hash *and size*; the cache cannot check them
    /// again. They are whole spans. The first fill of an input must be its last span: it makes the files. What somebody
    /// else filled meanwhile is left as it is. Present at once; for the next run, once it was synced.
    ///
    /// It is done to its end even if its future is dropped.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn fill(&self, room: Reservation, start: u64, bytes: Vec<u8>) -> Result<(), CacheError> {
        let lease = self.clone();
        let filled = tokio::task::spawn_blocking(move || lease.fill_blocking(room, start, &bytes)).await;
        filled.unwrap_or_else(|e| Err(CacheError::Io(self.entry.key.data(), io::Error::other(e))))
    }

    /// As [`Self::fill`], on a thread that may wait for the disk.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn fill_blocking(&self, mut room: Reservation, start: u64, bytes: &[u8]) -> Result<(), CacheError> {
        if room.key != self.entry.key {
            return Err(CacheError::NotReserved);
        }
        let filled = self.cache.fill(&self.entry, self.tenant, &mut room.room, start, bytes);
        if filled.is_err() {
            self.cache.remove_doomed_soon();
        }
        filled
    }

    /// Fills `into` from `offset` on: at once if these spans were checked and are in the page cache, else on a thread that may wait, after
    /// looking whether they are what was written. What the disk is asked for anew is looked at anew.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        if into.is_empty() {
            return Ok(());
        }
        let key = self.entry.key;
        let end = offset.checked_add(into.len() as u64).ok_or(ReadError::Lost)?;
        let generation = || self.cache.state.lock().generation(key, offset, end);
        let before = generation().ok_or(ReadError::Lost)?;
        let is_checked = self.is_checked(before, offset, end);
        let open = self.cache.descriptors.hit(&(key, before)).filter(|_| is_checked);
        if !open.is_some_and(|file| read_now(&file, offset, into)) {
            // The thread holds the input too, so that the file that it opens is not given up meanwhile.
            let lease = self.clone();
            let read = tokio::task::spawn_blocking(move || lease.read_blocking(before, offset, end, is_checked)).await;
            into.copy_from_slice(&read.map_err(|e| ReadError::Io(io::Error::other(e)))??);
            self.is_now_checked(before, offset, end);
        }
        // Files that were lost and made again meanwhile may have had holes.
        if generation() == Some(before) { Ok(()) } else { Err(ReadError::Lost) }
    }

    fn is_checked(&self, generation: u64, start: u64, end: u64) -> bool {
        let checked = self.checked.lock();
        checked.0 == generation && checked.1.gaps(&self.cache.bounds.spans(start, end)).next().is_none()
    }

    fn is_now_checked(&self, generation: u64, start: u64, end: u64) {
        let mut checked = self.checked.lock();
        if checked.0 != generation {
            *checked = (generation, RangeSet::new());
        }
        checked.1.insert(self.cache.bounds.spans(start, end));
    }

    /// The bytes of `start..end`, all of whose spans are what was written.
    fn read_blocking(&self, generation: u64, start: u64, end: u64, is_checked: bool) -> Result<Vec<u8>, ReadError> {
        let (key, bounds) = (self.entry.key, &self.cache.bounds);
        let file = self.cache.data(key, generation).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => ReadError::Lost,
            _ => ReadError::Io(e),
        })?;
        let mut bytes = vec![0; to_index(end - start)];
        if is_checked && read_now(&file, start, &mut bytes) {
            return Ok(bytes);
        }
        let (mut whole, mut is_right) = (vec![], true);
        for span in bounds.spans(start, end) {
            let at = bounds.bytes(&(span..span + 1), key.size);
            whole.resize(to_index(at.end - at.start), 0);
            let wanted = self.cache.state.lock().mark(key, generation, span);
            let read = file.read_exact_at(&mut whole, at.start);
            if read.is_err() || wanted != Some(map::mark(&whole)) {
                if self.cache.state.lock().damaged(key, generation, span) {
                    let (name, from) = (key.data(), at.start);
                    let why = read.map_or_else(|e| e.to_string(), |()| "not what was written".into());
                    tracing::warn!("input cache: the span at {from} of {name} is lost and fetched again: {why}");
                }
                is_right = false;
                continue;
            }
            let (from, to) = (start.max(at.start), end.min(at.end));
            bytes[to_index(from - start)..to_index(to - start)]
                .copy_from_slice(&whole[to_index(from - at.start)..to_index(to - at.start)]);
        }
        is_right.then_some(bytes).ok_or(ReadError::Lost)
    }
}
