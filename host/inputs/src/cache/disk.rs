//! All that the cache asks of the disk, in one place: a test puts a recorder here and cuts the power at every write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use eider_protocol::Hash;
use rustix::fs::{FlockOperation, OFlags, flock};

/// What tells entries apart. A hash alone does not: the same hash with another size is another claim, by another
/// stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) hash: Hash,
    pub(super) size: u64,
}

/// Ends the name of a map.
const MAP: &str = ".map";

impl Key {
    /// The name of the file that holds its bytes, sparse.
    pub(super) fn data(&self) -> String {
        format!("{}-{}", self.hash, self.size)
    }

    /// The name of the file that says which spans are present.
    pub(super) fn map(&self) -> String {
        self.data() + MAP
    }

    /// The key that a name was made of, and whether it is that of the map. Only what [`Key::data`] and [`Key::map`]
    /// write is a name.
    pub(super) fn of(name: &str) -> Option<(Self, bool)> {
        let (stem, map) = name.strip_suffix(MAP).map_or((name, false), |stem| (stem, true));
        let (hash, size) = stem.split_once('-')?;
        let key = Self { hash: hash.parse().ok()?, size: size.parse().ok()? };
        (key.data() == stem).then_some((key, map))
    }
}

/// Whether a name is one that this or an earlier layout of the cache may have made: they all begin with a hash.
pub(super) fn is_ours(name: &str) -> bool {
    name.get(..64).is_some_and(|hash| hash.parse::<Hash>().is_ok())
}

/// One name in the folder.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) kind: FoundKind,
    pub(super) length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundKind {
    Regular,
    Folder,
    /// Links, pipes, devices.
    Other,
}

/// The operations. Names are those of [`Key`].
pub(super) trait Disk: std::fmt::Debug + Send + Sync {
    /// Makes a file that is not there yet, all holes.
    fn create(&self, name: &str, length: u64) -> io::Result<File>;
    /// Opens one that is there; never through a link.
    fn open(&self, name: &str) -> io::Result<File>;
    /// Writes at a place.
    fn write(&self, name: &str, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Waits until the file's bytes and length would survive a power cut.
    fn sync(&self, name: &str, file: &File) -> io::Result<()>;
    /// Waits until the folder's names would.
    fn sync_names(&self) -> io::Result<()>;
    /// Removes a name; one that is not there is no error.
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// Tells each name that is there.
    fn list(&self, each: &mut dyn FnMut(Found)) -> io::Result<()>;
}

/// A folder that only the cache writes to: its lock is held for as long as this lives, and no longer than the process.
#[derive(Debug)]
pub(super) struct Folder {
    dir: Dir,
    /// The folder as a file that can be synced, which a `Dir` that only looks names up need not be.
    itself: File,
}

impl Folder {
    /// [`io::ErrorKind::WouldBlock`] if another one has the folder.
    pub(super) fn new(dir: Dir) -> io::Result<Self> {
        let itself = dir.open(".")?.into_std();
        flock(&itself, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { dir, itself })
    }

    fn options() -> OpenOptions {
        // A pipe under one of our names must not hold up the sweep.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(flags.bits().cast_signed());
        options
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started still has the descriptor.
        let _ = flock(&self.itself, FlockOperation::Unlock);
    }
}

impl Disk for Folder {
    fn create(&self, name: &str, length: u64) -> io::Result<File> {
        let file = self.dir.open_with(name, Self::options().create_new(true))?.into_std();
        match file.set_len(length) {
            Ok(()) => Ok(file),
            Err(e) => {
                self.unlink(name)?;
                Err(e)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<File> {
        Ok(self.dir.open_with(name, &Self::options())?.into_std())
    }

    fn write(&self, _name: &str, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, _name: &str, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_names(&self) -> io::Result<()> {
        self.itself.sync_all()
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match self.dir.remove_file(name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn list(&self, each: &mut dyn FnMut(Found)) -> io::Result<()> {
        for entry in self.dir.entries()? {
            let entry = entry?;
            // Of the name itself: a link is not followed.
            let Ok(meta) = entry.metadata() else { continue };
            let kind = match meta.file_type() {
                t if t.is_file() => FoundKind::Regular,
                t if t.is_dir() => FoundKind::Folder,
                _ => FoundKind::Other,
            };
            each(Found { name: entry.file_name().to_string_lossy().into_owned(), kind, length: meta.len() });
        }
        Ok(())
    }
}
