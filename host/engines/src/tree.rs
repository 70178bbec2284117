//! A log's tree, read from files that anybody may hand out (c2sp.org/tlog-tiles) and checked against a checkpoint.
//!
//! ```text
//! checkpoint                    the newest tree, signed by the log and its witnesses
//! tile/<level>/<n>[.p/<width>]  256 hashes, or fewer at the right edge
//! tile/entries/<n>[.p/<width>]  the entries whose hashes are in tile/0/<n>, each behind its length
//! ```
//!
//! The library's own reader of tiles (`TileHashReader` of tlog_tiles 0.2.0, as its original in Go) leaves some whole tiles unchecked where
//! several of the root's parts are in one tile. So each hash is looked at by itself here: it must lead to the root.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use tlog_tiles::{Error as TreeError, Hash, HashReader, Tile};

use crate::checkpoint::{Checkpoint, Proof, TreeHash};
use crate::log::LogError;
use crate::note::NOTE_MAX;

/// Log2 of the hashes in a tile.
pub(crate) const HEIGHT: u8 = 8;
/// Hashes, or entries, of a tile.
pub const WIDTH: u64 = 1 << HEIGHT;
/// Longest entry, bytes: its length stands before it in two.
pub const ENTRY_MAX: usize = 65535;
/// Tiles that are kept in memory, 8 KiB each.
const TILES_MAX: usize = 256;
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// Where a log's files are: a folder, or whatever else has them by name.
pub trait Files {
    /// The file of this name, no more than `max` bytes of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::FileTooLarge`], and whatever reading may end in.
    fn read(&self, name: &str, max: usize) -> io::Result<Vec<u8>>;
}

impl Files for Dir {
    fn read(&self, name: &str, max: usize) -> io::Result<Vec<u8>> {
        // Nobody waits for a pipe that stands where a file should.
        let mut options = OpenOptions::new();
        let file = self.open_with(name, options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a plain file"));
        }
        let mut bytes = vec![];
        file.take(max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > max { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }
}

/// The newest checkpoint; who signed it is another question.
///
/// # Errors
/// [`LogError::Io`], [`LogError::Proof`].
pub fn newest(files: &impl Files) -> Result<Checkpoint, LogError> {
    let bytes = files.read(CHECKPOINT, NOTE_MAX).map_err(|e| LogError::Io(CHECKPOINT.into(), e))?;
    Ok(Checkpoint::parse(&bytes)?)
}

/// `<n>` of a tile's name: groups of three digits, all but the last behind an `x`.
fn number(n: u64) -> String {
    let mut name = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    name
}

pub(crate) fn name(level: &str, n: u64, width: u64) -> String {
    let full = format!("tile/{level}/{}", number(n));
    if width == WIDTH { full } else { format!("{full}.p/{width}") }
}

pub(crate) fn tile_name(tile: &Tile) -> String {
    name(&tile.level().to_string(), tile.level_index(), tile.width().into())
}

/// A tree of a log, as its checkpoint says. Whatever is read from it leads to the checkpoint's root.
pub struct Tree<'t, F> {
    files: &'t F,
    checkpoint: &'t Checkpoint,
    tiles: RefCell<HashMap<String, Vec<u8>>>,
    failed: RefCell<Option<LogError>>,
}

/// Hashes as they are found: nobody has checked them yet.
struct Found<'a, 't, F>(&'a Tree<'t, F>);

impl<F: Files> HashReader for Found<'_, '_, F> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TreeError> {
        indexes.iter().map(|index| self.0.found(*index)).collect()
    }
}

impl<F: Files> HashReader for Tree<'_, F> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TreeError> {
        indexes.iter().map(|index| self.hash(*index)).collect()
    }
}

impl<'t, F: Files> Tree<'t, F> {
    /// The tree of a checkpoint that the caller believes.
    pub fn new(files: &'t F, checkpoint: &'t Checkpoint) -> Self {
        Self { files, checkpoint, tiles: RefCell::default(), failed: RefCell::default() }
    }

    /// A file; one of the right edge may have been filled since, and is the beginning of that.
    fn file(&self, level: &str, n: u64, width: u64, most: usize) -> Result<Vec<u8>, LogError> {
        let read = match self.files.read(&name(level, n, width), most) {
            Err(e) if e.kind() == ErrorKind::NotFound && width < WIDTH => self.files.read(&name(level, n, WIDTH), most),
            read => read,
        };
        read.map_err(|e| LogError::Io(name(level, n, width), e))
    }

    /// A hash as a tile has it.
    fn found(&self, index: u64) -> Result<Hash, TreeError> {
        let size = self.checkpoint.size();
        let (level, n) = tlog_tiles::split_stored_hash_index(index);
        if (n + 1).checked_shl(level.into()).is_none_or(|end| end > size) {
            return Err(TreeError::IndexesNotInTree);
        }
        let tile = Tile::from_index(HEIGHT, index).parent(0, size).ok_or(TreeError::BadMath)?;
        let at = tile_name(&tile);
        let mut tiles = self.tiles.borrow_mut();
        if !tiles.contains_key(&at) {
            let width = u64::from(tile.width());
            let mut bytes = match self.file(&tile.level().to_string(), tile.level_index(), width, 32 << HEIGHT) {
                Ok(bytes) => bytes,
                Err(e) => {
                    *self.failed.borrow_mut() = Some(e);
                    return Err(TreeError::InvalidTile);
                }
            };
            bytes.truncate(32 * tile.width() as usize);
            if tiles.len() >= TILES_MAX {
                tiles.clear();
            }
            tiles.insert(at.clone(), bytes);
        }
        tile.hash_at_index(tiles.get(&at).map_or(&[][..], |bytes| bytes), index)
    }

    /// A hash that leads to the root.
    fn hash(&self, index: u64) -> Result<Hash, TreeError> {
        let hash = self.found(index)?;
        let (level, n) = tlog_tiles::split_stored_hash_index(index);
        self.leads_to_root(level, n, hash)?;
        Ok(hash)
    }

    /// Checks that the `n`th subtree of 2^level entries has this hash. Above that level the tree is that of so many fewer entries.
    fn leads_to_root(&self, level: u8, n: u64, hash: Hash) -> Result<(), TreeError> {
        let size = self.checkpoint.size();
        let path = tlog_tiles::prove_record(size, n << level, &Found(self))?;
        let path = path.get(usize::from(level)..).ok_or(TreeError::BadMath)?.to_vec();
        tlog_tiles::check_record(&path, size.div_ceil(1 << level), self.checkpoint.root().into(), n, hash)
    }

    pub(crate) fn changed(&self, error: &TreeError) -> LogError {
        let failed = self.failed.borrow_mut().take();
        failed.unwrap_or_else(|| LogError::Changed(format!("a tile ({error})")))
    }

    /// The proof that entry `index` is in the tree.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn prove(&self, index: u64) -> Result<Proof, LogError> {
        let size = self.checkpoint.size();
        if index >= size {
            return Err(LogError::Nothing { index, size });
        }
        let path = tlog_tiles::prove_record(size, index, self).map_err(|e| self.changed(&e))?;
        let path = path.into_iter().map(TreeHash::from).collect();
        Ok(Proof { index, path, checkpoint: self.checkpoint.clone() })
    }

    /// The proof that the tree of the first `earlier` entries is the beginning of this one.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn prove_beginning(&self, earlier: u64) -> Result<Vec<TreeHash>, LogError> {
        let size = self.checkpoint.size();
        if earlier > size {
            return Err(LogError::Nothing { index: earlier, size });
        }
        if earlier == 0 || earlier == size {
            return Ok(vec![]);
        }
        let path = tlog_tiles::prove_tree(size, earlier, self).map_err(|e| self.changed(&e))?;
        Ok(path.into_iter().map(TreeHash::from).collect())
    }

    /// The entries of tile `n`, in order.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn entries(&self, n: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let size = self.checkpoint.size();
        let first = n.saturating_mul(WIDTH);
        let width = size.saturating_sub(first).min(WIDTH);
        if width == 0 {
            return Err(LogError::Nothing { index: first, size });
        }
        let at = name("entries", n, width);
        let bytes = self.file("entries", n, width, (ENTRY_MAX + 2) << HEIGHT)?;
        let entries = split(&bytes, width).ok_or_else(|| LogError::Changed(at.clone()))?;
        let hashes: Vec<Hash> = entries.iter().map(|entry| tlog_tiles::record_hash(entry)).collect();
        let leads = if width == WIDTH {
            // All of them are below one hash.
            let whole = Tile::subtree_hash(&hashes.iter().flat_map(|h| h.0).collect::<Vec<_>>());
            self.leads_to_root(HEIGHT, n, whole)
        } else {
            (first..).zip(hashes).try_for_each(|(index, hash)| self.leads_to_root(0, index, hash))
        };
        match leads {
            Ok(()) => Ok(entries),
            Err(TreeError::InvalidProof) => Err(LogError::Changed(at)),
            Err(e) => Err(self.changed(&e)),
        }
    }

    /// Each entry from `from` on with its number, in order.
    ///
    /// # Errors
    /// [`LogError`], and whatever `see` ends with.
    pub fn each<E: From<LogError>>(
        &self,
        from: u64,
        mut see: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for tile in from / WIDTH..self.checkpoint.size().div_ceil(WIDTH) {
            for (n, entry) in (tile * WIDTH..).zip(self.entries(tile)?).filter(|(n, _)| *n >= from) {
                see(n, &entry)?;
            }
        }
        Ok(())
    }
}

/// The first `width` entries of a tile's.
fn split(mut bytes: &[u8], width: u64) -> Option<Vec<Vec<u8>>> {
    let mut entries = vec![];
    for _ in 0..width {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(number(1_234_067), "x001/x234/067");
        assert_eq!(name("0", 5, WIDTH), "tile/0/005");
        assert_eq!(name("entries", 1000, 7), "tile/entries/x001/000.p/7");
    }
}
