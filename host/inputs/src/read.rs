//! Reads that wait on a thread only where the disk does.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::{ReadWriteFlags, preadv2};

/// Fills `into` from `offset` of a file: at once if the bytes are in the page cache, else on a thread that may wait.
pub(crate) async fn read_at(file: &Arc<File>, offset: u64, into: &mut [u8]) -> io::Result<()> {
    if read_now(file, offset, into) {
        return Ok(());
    }
    let file = file.clone();
    on_a_thread(offset, into, move || Ok(file)).await
}

/// Fills `into` from `offset` of a file if all of it is in the page cache; whether it was.
pub(crate) fn read_now(file: &File, offset: u64, into: &mut [u8]) -> bool {
    let read = preadv2(file, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|n| n == into.len())
}

/// Fills `into` from `offset` of a file that is still to be opened.
pub(crate) async fn on_a_thread<F>(offset: u64, into: &mut [u8], open: F) -> io::Result<()>
where
    F: FnOnce() -> io::Result<Arc<File>> + Send + 'static,
{
    let length = into.len();
    let bytes = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; length];
        open()?.read_exact_at(&mut bytes, offset).map(|()| bytes)
    });
    into.copy_from_slice(&bytes.await.map_err(io::Error::other)??);
    Ok(())
}
