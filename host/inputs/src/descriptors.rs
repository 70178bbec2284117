//! Open files, the least recently used closed first: what names a file need not hold it open.

use std::fs::File;
use std::hash::Hash;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

/// At most so many open files, by key. A reader that still holds one that was closed here keeps it for its read.
#[derive(Debug)]
pub(crate) struct Descriptors<K: Hash + Eq> {
    open: Mutex<LruCache<K, Arc<File>>>,
}

impl<K: Hash + Eq> Descriptors<K> {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self { open: Mutex::new(LruCache::new(max)) }
    }

    /// The file, if it is open.
    pub(crate) fn hit(&self, key: &K) -> Option<Arc<File>> {
        self.open.lock().get(key).cloned()
    }

    /// The file, opened by `open` if it is not; that may wait for the disk.
    pub(crate) fn open(&self, key: K, open: impl FnOnce() -> io::Result<File>) -> io::Result<Arc<File>> {
        if let Some(file) = self.hit(&key) {
            return Ok(file);
        }
        let file = Arc::new(open()?);
        self.keep(key, file.clone());
        Ok(file)
    }

    /// Keeps a file that was opened elsewhere.
    pub(crate) fn keep(&self, key: K, file: Arc<File>) {
        // What makes room is closed after the lock is given back.
        let closed = self.open.lock().push(key, file);
        drop(closed);
    }

    /// All that are open.
    pub(crate) fn keys(&self) -> Vec<K>
    where
        K: Copy,
    {
        self.open.lock().iter().map(|(key, _)| *key).collect()
    }

    /// Closes one.
    pub(crate) fn close(&self, key: &K) {
        let closed = self.open.lock().pop(key);
        drop(closed);
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.open.lock().len()
    }
}
