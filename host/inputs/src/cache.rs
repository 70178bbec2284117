//! A worker's cache of inputs: content-addressed, filled by verified ranges, shared by concurrent jobs, kept under the
//! donated disk budget.
//!
//! Each input is one sparse file named by its hash, with a map of the spans that are present. A span is written only
//! after its bytes are verified against the hash, so whatever the map says is there is right, whoever delivered it; a
//! transfer that breaks off is resumed at the first missing span.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eider_protocol::Hash;
use parking_lot::Mutex;

/// Granularity of what is fetched and kept: a multiple of 16 KiB chunk groups, about one read of DuckDB's.
const SPAN: u64 = 1 << 20;

/// Why an input cannot be cached.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk.
    #[error("input cache {0}: {1}")]
    Io(PathBuf, io::Error),
    /// The donated budget is full of inputs that running jobs use.
    #[error("the donated disk ({0} bytes) is full of inputs that running jobs use")]
    Full(u64),
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct InputCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    budget: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Hash, Arc<Entry>>,
    used: u64,
    clock: u64,
}

/// One cached input, in use for as long as it is held.
#[derive(Debug)]
pub struct Entry {
    /// Its bytes, sparse.
    pub file: Arc<File>,
    size: u64,
    /// Which spans are present.
    spans: Mutex<Vec<bool>>,
    /// Held while missing spans are fetched, so that concurrent jobs fetch each once.
    pub fetching: tokio::sync::Mutex<()>,
    last_use: Mutex<u64>,
}

impl Entry {
    /// The first run of missing spans that `start..end` needs, as a byte range.
    pub fn missing(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        let spans = self.spans.lock();
        let (first, last) = ((start / SPAN) as usize, (end.div_ceil(SPAN) as usize).min(spans.len()));
        let from = (first..last).find(|i| !spans[*i])?;
        let to = (from..last).find(|i| spans[*i]).unwrap_or(last);
        Some((from as u64 * SPAN, (to as u64 * SPAN).min(self.size)))
    }

    /// Writes verified bytes.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

impl InputCache {
    /// A cache in `dir`, with at most `budget` bytes. What an earlier run left is used again.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn open(dir: &Path, budget: u64) -> Result<Self, CacheError> {
        let err = |e| CacheError::Io(dir.to_owned(), e);
        fs::create_dir_all(dir).map_err(err)?;
        let mut state = State::default();
        for file in fs::read_dir(dir).map_err(err)?.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(hash) = name.strip_suffix(".spans").and_then(|h| h.parse::<Hash>().ok()) else { continue };
            match reopen(dir, hash) {
                Ok(entry) => {
                    state.used += present(&entry);
                    state.entries.insert(hash, Arc::new(entry));
                }
                Err(e) => {
                    tracing::warn!(input = %hash, "dropping a damaged cache entry: {e}");
                    remove(dir, hash);
                }
            }
        }
        Ok(Self { inner: Arc::new(Inner { dir: dir.to_owned(), budget, state: Mutex::new(state) }) })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.inner.state.lock().used
    }

    /// The entry of an input, made if it is not there.
    pub fn entry(&self, hash: Hash, size: u64) -> Result<Arc<Entry>, CacheError> {
        let mut state = self.inner.state.lock();
        state.clock += 1;
        let now = state.clock;
        if let Some(entry) = state.entries.get(&hash).filter(|e| e.size == size) {
            *entry.last_use.lock() = now;
            return Ok(entry.clone());
        }
        let path = self.inner.dir.join(hash.to_string());
        let entry = create(&path, size, now).map_err(|e| CacheError::Io(path, e))?;
        let entry = Arc::new(entry);
        state.entries.insert(hash, entry.clone());
        Ok(entry)
    }

    /// Makes room for `bytes` more, by dropping entries that no job uses, least recently used first.
    pub fn reserve(&self, bytes: u64) -> Result<(), CacheError> {
        let mut state = self.inner.state.lock();
        while state.used + bytes > self.inner.budget {
            let idle = state.entries.iter().filter(|(_, e)| Arc::strong_count(e) == 1);
            let Some(oldest) = idle.min_by_key(|(_, e)| *e.last_use.lock()).map(|(h, _)| *h) else {
                return Err(CacheError::Full(self.inner.budget));
            };
            if let Some(entry) = state.entries.remove(&oldest) {
                state.used -= present(&entry).min(state.used);
                remove(&self.inner.dir, oldest);
            }
        }
        state.used += bytes;
        Ok(())
    }

    /// What was reserved did not come.
    pub fn unreserve(&self, bytes: u64) {
        let mut state = self.inner.state.lock();
        state.used -= bytes.min(state.used);
    }

    /// Notes that `start..end` is present, and keeps the map for the next run.
    pub fn filled(&self, hash: Hash, entry: &Entry, start: u64, end: u64) {
        let map: Vec<u8> = {
            let mut spans = entry.spans.lock();
            for i in (start / SPAN)..end.div_ceil(SPAN) {
                spans[i as usize] = true;
            }
            spans.iter().map(|s| u8::from(*s)).collect()
        };
        let path = self.inner.dir.join(format!("{hash}.spans"));
        let part = path.with_extension("part");
        if let Err(e) = fs::write(&part, map).and_then(|()| fs::rename(&part, &path)) {
            tracing::warn!("the cache will not survive a restart: {e}");
        }
    }
}

fn present(entry: &Entry) -> u64 {
    let spans = entry.spans.lock();
    let bytes: u64 = spans.iter().filter(|s| **s).count() as u64 * SPAN;
    bytes.min(entry.size)
}

fn create(path: &Path, size: u64, now: u64) -> io::Result<Entry> {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path)?;
    file.set_len(size)?;
    let spans = vec![false; size.div_ceil(SPAN) as usize];
    Ok(Entry {
        file: Arc::new(file),
        size,
        spans: Mutex::new(spans),
        fetching: tokio::sync::Mutex::new(()),
        last_use: Mutex::new(now),
    })
}

fn reopen(dir: &Path, hash: Hash) -> io::Result<Entry> {
    let path = dir.join(hash.to_string());
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let size = file.metadata()?.len();
    let map = fs::read(dir.join(format!("{hash}.spans")))?;
    if map.len() as u64 != size.div_ceil(SPAN) || map.iter().any(|b| *b > 1) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let spans = map.into_iter().map(|b| b == 1).collect();
    Ok(Entry {
        file: Arc::new(file),
        size,
        spans: Mutex::new(spans),
        fetching: tokio::sync::Mutex::new(()),
        last_use: Mutex::new(0),
    })
}

fn remove(dir: &Path, hash: Hash) {
    let _ = fs::remove_file(dir.join(format!("{hash}.spans")));
    let _ = fs::remove_file(dir.join(hash.to_string()));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hash(n: u8) -> Hash {
        Hash::from_bytes([n; 32])
    }

    #[test]
    fn spans_survive_a_restart_and_the_rest_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let size = 5 * SPAN + 10;
        {
            let cache = InputCache::open(dir.path(), 100 * SPAN).unwrap();
            let entry = cache.entry(hash(1), size).unwrap();
            assert_eq!(entry.missing(0, size), Some((0, size)));
            cache.reserve(2 * SPAN).unwrap();
            entry.write(SPAN, &vec![7; 2 * SPAN as usize]).unwrap();
            cache.filled(hash(1), &entry, SPAN, 3 * SPAN);
            assert_eq!(entry.missing(0, size), Some((0, SPAN)));
        }
        let cache = InputCache::open(dir.path(), 100 * SPAN).unwrap();
        assert_eq!(cache.used(), 2 * SPAN);
        let entry = cache.entry(hash(1), size).unwrap();
        assert_eq!(entry.missing(SPAN, 3 * SPAN), None);
        assert_eq!(entry.missing(3 * SPAN, size), Some((3 * SPAN, size)));
        let mut kept = [0; 3];
        entry.file.read_exact_at(&mut kept, SPAN).unwrap();
        assert_eq!(kept, [7, 7, 7]);
    }

    #[test]
    fn budget_evicts_the_least_recently_used_and_never_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = InputCache::open(dir.path(), 2 * SPAN).unwrap();
        for n in [1, 2] {
            let entry = cache.entry(hash(n), SPAN).unwrap();
            cache.reserve(SPAN).unwrap();
            cache.filled(hash(n), &entry, 0, SPAN);
        }
        let held = cache.entry(hash(1), SPAN).unwrap();
        let third = cache.entry(hash(3), SPAN).unwrap();
        cache.reserve(SPAN).unwrap();
        assert_eq!(held.missing(0, SPAN), None);
        assert!(cache.entry(hash(2), SPAN).unwrap().missing(0, SPAN).is_some());
        cache.filled(hash(3), &third, 0, SPAN);
        assert!(matches!(cache.reserve(2 * SPAN), Err(CacheError::Full(_))));
        assert!(cache.used() <= 2 * SPAN);
    }
}
