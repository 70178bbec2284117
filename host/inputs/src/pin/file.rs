//! A file that was pinned: opened when it is read, and known again by what changes when a file is written to.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::descriptors::Descriptors;
use crate::outboard::ReadAt;

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self { size: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() }
    }
}

/// Opens a regular file, and says what it is. Nothing else is opened: a pipe would wait for its other end, a device may
/// do anything.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, Stamp)> {
    let regular = |meta: &Metadata| if meta.is_file() { Ok(()) } else { Err(not_regular()) };
    regular(&std::fs::metadata(path)?)?;
    // It may be another one by now.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let meta = file.metadata()?;
    regular(&meta)?;
    Ok((file, Stamp::of(&meta)))
}

pub(super) fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// One pinned file. It holds no descriptor; [`Descriptors`] of its job does, for as long as there is room.
#[derive(Debug)]
pub(super) struct PinnedFile {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// Its number in the job.
    pub(super) index: usize,
    pub(super) open: Arc<Descriptors<usize>>,
}

impl PinnedFile {
    /// The file, if it is open.
    pub(super) fn hit(&self) -> Option<Arc<File>> {
        self.open.hit(&self.index)
    }

    /// The file, if it still is what was pinned.
    pub(super) fn file(&self) -> io::Result<Arc<File>> {
        self.open.open(self.index, || {
            let (file, stamp) = open_regular(&self.path)?;
            // As for a file that became shorter: its bytes are no longer there.
            let changed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file is no longer what was pinned");
            if stamp == self.stamp { Ok(file) } else { Err(changed()) }
        })
    }

    /// Whether the file is still what was hashed, as far as its metadata can tell.
    pub(super) fn unchanged(&self) -> bool {
        // One that is not open is not opened for this: a job asks it of all its files.
        let meta = self.hit().map_or_else(|| std::fs::metadata(&self.path), |file| file.metadata());
        meta.is_ok_and(|meta| Stamp::of(&meta) == self.stamp)
    }
}

impl ReadAt for PinnedFile {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file()?.read_exact_at(into, offset)
    }
}
