//! The requester's inputs: names and globs resolved to pinned objects.
//!
//! What is wrong with the names, their count and the kinds of their files is told before the first file is hashed,
//! which may take hours. A pinned input is its path, its tree and a stamp: it is opened when it is read, and then and
//! after each read it must still be what was hashed.

mod file;
mod name;
mod sparse;

#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eider_protocol::{Hash, InputEntry, InputsSummary, ManifestError, manifest_check};

use crate::descriptors::Descriptors;
use eider_net::{Hashes, ReadAt};

use crate::outboard::{HashError, InMemory, Outboard, Outboards};
use crate::read;
use file::{PinnedFile, Stamp, open_regular};
pub use name::InputArg;
use name::{Named, expand, format_of_bytes, format_of_name};
use sparse::Sparse;

/// Open files of one job at rest: enough for the streams that its workers read on, few beside those of other jobs.
const DESCRIPTORS_MAX: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");
/// Bytes between two words of progress: some tenths of a second of hashing.
const PROGRESS_EVERY: u64 = 64 << 20;
/// What is read of a file at once.
const BUFFER: u64 = 1 << 20;

/// Why the inputs cannot be pinned. Each names the argument that is at fault.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file that cannot be read.
    #[error("input {name}: {path}: {source}")]
    Io {
        /// The table.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder for what does not fit the memory.
    #[error("{0}, where hashes of large inputs are kept: {1}")]
    Scratch(PathBuf, io::Error),
    /// Not a pattern.
    #[error("input {0}: {1:?} is not a valid glob: {2}")]
    Glob(String, String, String),
    /// No file.
    #[error("input {0}: nothing matches {1:?}")]
    NoMatch(String, String),
    /// More files than a manifest can name.
    #[error(
        "input {name}: with {pattern:?} there are {count} input files or more, at most {max} fit one job",
        max = InputEntry::MAX
    )]
    TooMany {
        /// The table.
        name: String,
        /// Its pattern.
        pattern: String,
        /// Files when counting stopped.
        count: usize,
    },
    /// A folder, a device, …
    #[error("input {0}: {1} is not a regular file")]
    NotAFile(String, PathBuf),
    /// No format can be told.
    #[error(
        "input {0}: cannot tell the format of {1}: name it .parquet, .csv, .tsv, .json, .jsonl or .ndjson (also with .gz or .zst)"
    )]
    Format(String, PathBuf),
    /// A name twice.
    #[error("input {0}: the name is used twice")]
    Twice(String),
    /// More bytes than a number can name; such files have holes.
    #[error("input {0}: with {1} the inputs have more than {max} bytes", max = u64::MAX)]
    TooLarge(String, PathBuf),
    /// It changed while it was hashed.
    #[error("input {0}: {1} changed while it was read; run the query again when it is at rest")]
    Changed(String, PathBuf),
    /// Names and counts.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// One object, with what it was when it was hashed.
#[derive(Clone, Debug)]
pub struct PinnedInput {
    /// As the manifest has it.
    pub entry: InputEntry,
    /// Where it is.
    pub path: PathBuf,
    file: Arc<PinnedFile>,
    outboard: Arc<Outboard>,
}

impl PinnedInput {
    /// Its bytes and hashes. Reading opens the file; one that changed since has no bytes.
    pub fn source(&self) -> (Arc<dyn ReadAt>, Arc<dyn Hashes>) {
        (self.file.clone(), self.outboard.clone())
    }

    /// Fills `into` from `offset` on: at once if the bytes are in the page cache, else on a thread that may wait.
    /// [`Self::unchanged`] says afterwards whether they are still those that were hashed.
    ///
    /// # Errors
    /// Reading, or a file that is no longer what was pinned.
    pub async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if let Some(file) = self.file.hit() {
            return read::read_at(&file, offset, into).await;
        }
        let file = self.file.clone();
        read::on_a_thread(offset, into, move || file.file()).await
    }

    /// Whether the file is still what was hashed, as far as its metadata can tell.
    pub fn unchanged(&self) -> bool {
        self.file.unchanged()
    }
}

/// All inputs of a job. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pinned: Arc<[PinnedInput]>,
}

impl Inputs {
    /// Resolves and hashes. Blocks for as long as reading all files takes; `progress` is told the file that is read,
    /// the bytes of all files that were, and those of all files. Hashes that do not fit the memory go to a file without
    /// a name in `scratch`: 1/256 of what they are of.
    ///
    /// # Errors
    /// [`InputError`], the first that is found.
    pub fn pin(
        args: &[InputArg],
        scratch: &Path,
        mut progress: impl FnMut(&Path, u64, u64),
    ) -> Result<Self, InputError> {
        let planned = expand(args)?.into_iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        let entries: Vec<_> = planned.iter().map(|p| p.entry.clone()).collect();
        manifest_check(&entries)?;
        let total = planned.iter().try_fold(0_u64, |sum, p| {
            let too_large = || InputError::TooLarge(p.entry.table.clone(), p.path.clone());
            sum.checked_add(p.entry.size).ok_or_else(too_large)
        })?;
        let mut outboards = Outboards::new(scratch.into(), InMemory::default());
        let open = Arc::new(Descriptors::new(DESCRIPTORS_MAX));
        let (mut done, mut pinned) = (0, vec![]);
        for planned in planned {
            let path = planned.path.clone();
            progress(&path, done, total);
            let mut tell = |read| progress(&path, done + read, total);
            let input = planned.pin(pinned.len(), &open, &mut outboards, &mut tell)?;
            done += input.entry.size;
            progress(&path, done, total);
            pinned.push(input);
        }
        Ok(Self { pinned: pinned.into() })
    }

    /// The objects.
    pub fn pinned(&self) -> &[PinnedInput] {
        &self.pinned
    }

    /// The manifest.
    pub fn entries(&self) -> Vec<InputEntry> {
        self.pinned.iter().map(|p| p.entry.clone()).collect()
    }

    /// Count and bytes.
    pub fn summary(&self) -> InputsSummary {
        InputsSummary {
            count: u32::try_from(self.pinned.len()).unwrap_or(u32::MAX),
            bytes: self.pinned.iter().map(|p| p.entry.size).sum(),
        }
    }

    /// The first input that is not what it was when it was pinned.
    pub fn changed(&self) -> Option<&PinnedInput> {
        self.pinned.iter().find(|p| !p.unchanged())
    }
}

/// A file that is to be hashed.
struct Planned {
    /// Without its hash.
    entry: InputEntry,
    path: PathBuf,
    stamp: Stamp,
}

fn plan(named: Named) -> Result<Planned, InputError> {
    let Named { table, file, path } = named;
    let failed = |source| InputError::Io { name: table.clone(), path: path.clone(), source };
    let meta = std::fs::metadata(&path).map_err(failed)?;
    if !meta.is_file() {
        return Err(InputError::NotAFile(table, path));
    }
    let format = match format_of_name(&path) {
        Some(format) => Some(format),
        None => format_of_bytes(&mut open_regular(&path).map_err(failed)?.0),
    };
    let Some(format) = format else { return Err(InputError::Format(table, path)) };
    let stamp = Stamp::of(&meta);
    let entry = InputEntry { table, file, format, size: stamp.size, hash: Hash::from_bytes([0; 32]) };
    Ok(Planned { entry, path, stamp })
}

impl Planned {
    fn pin(
        self,
        index: usize,
        open: &Arc<Descriptors<usize>>,
        outboards: &mut Outboards,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PinnedInput, InputError> {
        let Self { mut entry, path, stamp } = self;
        let file = PinnedFile { path: path.clone(), stamp, index, open: open.clone() };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => InputError::Changed(entry.table.clone(), path.clone()),
            _ => InputError::Io { name: entry.table.clone(), path: path.clone(), source },
        };
        let opened = file.file().map_err(failed)?;
        let counted = Counted { inner: Sparse::new(&opened, stamp.size), read: 0, told: 0, progress };
        let capacity = usize::try_from(stamp.size.min(BUFFER)).unwrap_or_default();
        let outboard = match outboards.hash(BufReader::with_capacity(capacity, counted), stamp.size) {
            Ok(outboard) => outboard,
            Err(HashError::Read(e)) => return Err(failed(e)),
            Err(HashError::Scratch(e)) => return Err(InputError::Scratch(outboards.scratch().into(), e)),
        };
        if !file.unchanged() {
            return Err(InputError::Changed(entry.table, path));
        }
        entry.hash = Hash::from(outboard.root());
        Ok(PinnedInput { entry, path, file: Arc::new(file), outboard: Arc::new(outboard) })
    }
}

/// Tells now and then how much was read.
struct Counted<'a, R> {
    inner: R,
    read: u64,
    told: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.read += n as u64;
        if self.read - self.told >= PROGRESS_EVERY {
            self.told = self.read;
            (self.progress)(self.read);
        }
        Ok(n)
    }
}
