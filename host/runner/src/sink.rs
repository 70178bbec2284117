//! Where a result goes, one piece after the other.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// A write under way.
pub type Writing<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// Takes a result: the bytes of an Arrow IPC stream, in order and without a gap. A slow one makes who writes wait and
/// blocks no thread. After an error it takes no more. It is not told of the end: who made it ends it.
pub trait Sink: Send {
    /// Takes the next bytes. If the future is dropped, nobody knows whether they were taken, and no more may follow.
    fn write(&mut self, bytes: Bytes) -> Writing<'_>;
}

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn write(&mut self, _: Bytes) -> Writing<'_> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A result in memory: all clones are one.
#[derive(Clone, Debug, Default)]
pub struct MemorySink(Arc<Mutex<Vec<u8>>>);

impl MemorySink {
    /// What has come since the last time.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Sink for MemorySink {
    fn write(&mut self, bytes: Bytes) -> Writing<'_> {
        self.0.lock().extend_from_slice(&bytes);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The same error once more, for who else has to know it.
pub fn same_error(e: &io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(e.kind(), e.to_string()),
    }
}
