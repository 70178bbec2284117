//! An append-only log as files (c2sp.org/tlog-tiles): any web server, and any peer, can hand them out, and whoever reads them checks them
//! against a checkpoint.
//!
//! ```text
//! checkpoint                    the newest tree, signed by the log and its witnesses
//! tile/<level>/<n>[.p/<width>]  256 hashes, or fewer at the right edge
//! tile/entries/<n>[.p/<width>]  the entries whose hashes are in tile/0/<n>, each behind its length
//! ```
//!
//! A tree is there before the checkpoint that says so: what an unclean end leaves behind the checkpoint's size is written again.

use std::collections::HashMap;
use std::fs::TryLockError;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;

use cap_std::fs::{Dir, OpenOptions};
use tlog_tiles::{Error as TreeError, Hash, HashReader, Tile, TileHashReader, TileReader};

use crate::checkpoint::{Checkpoint, Proof, ProofError, SIZE_MAX, TreeHash};
use crate::key::{Role, Signer};
use crate::note::NOTE_MAX;

/// Log2 of the hashes in a tile.
const HEIGHT: u8 = 8;
/// Hashes, or entries, of a tile.
pub const WIDTH: u64 = 1 << HEIGHT;
/// Longest entry, bytes: its length stands before it in two.
pub const ENTRY_MAX: usize = 65535;
/// Entries that are added at a time, for each of which two hashes are in memory.
const BATCH: usize = 1 << 16;
const CHECKPOINT: &str = "checkpoint";

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file, or whatever hands the files out.
    #[error("{0} of the log: {1}")]
    Io(String, io::Error),
    /// Somebody else writes to it.
    #[error("the log is being written by another process: end that one first")]
    InUse,
    /// A checkpoint or proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// What is in the files is not what was signed.
    #[error("{0} of the log is not what its checkpoint says: it was changed, or is another log's")]
    Changed(String),
    /// No such entry.
    #[error("the log has {size} entries, and none with the number {index}")]
    Nothing {
        /// Which one was asked for.
        index: u64,
        /// How many there are.
        size: u64,
    },
    /// Not to be written.
    #[error("an entry of {0} bytes: 1 to {ENTRY_MAX} are written")]
    Entry(usize),
    /// More than anybody needs.
    #[error("a log has at most {SIZE_MAX} entries")]
    Full,
    /// A log that is there already, or the key of another.
    #[error("{0}")]
    Other(String),
}

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
        let mut bytes = vec![];
        self.open(name)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
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

fn name(level: &str, n: u64, width: u64) -> String {
    let full = format!("tile/{level}/{}", number(n));
    if width == WIDTH { full } else { format!("{full}.p/{width}") }
}

fn tile_name(tile: &Tile) -> String {
    name(&tile.level().to_string(), tile.level_index(), tile.width().into())
}

/// A tree of a log, as its checkpoint says. Whatever is read from it was checked against that.
pub struct Tree<'t, F> {
    files: &'t F,
    checkpoint: &'t Checkpoint,
}

/// Tiles as they are found: nobody has checked them yet.
struct Found<'t, F>(&'t F);

impl<F: Files> Found<'_, F> {
    /// A tile of the right edge may have been filled since, and is the beginning of that.
    fn tile(&self, level: &str, n: u64, width: u64, most: usize) -> io::Result<Vec<u8>> {
        match self.0.read(&name(level, n, width), most) {
            Err(e) if e.kind() == ErrorKind::NotFound && width < WIDTH => self.0.read(&name(level, n, WIDTH), most),
            read => read,
        }
    }
}

impl<F: Files> TileReader for Found<'_, F> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, TreeError> {
        let read = |tile: &Tile| {
            let bytes = self.tile(&tile.level().to_string(), tile.level_index(), tile.width().into(), 32 << HEIGHT);
            let mut bytes = bytes.map_err(|e| TreeError::InvalidInput(format!("{}: {e}", tile_name(tile))))?;
            bytes.truncate(32 * tile.width() as usize);
            Ok(bytes)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn changed(error: &TreeError) -> LogError {
    match error {
        TreeError::InvalidInput(why) => LogError::Io("a tile".into(), io::Error::other(why.clone())),
        _ => LogError::Changed("a tile".into()),
    }
}

impl<'t, F: Files> Tree<'t, F> {
    /// The tree of a checkpoint that the caller believes.
    pub fn new(files: &'t F, checkpoint: &'t Checkpoint) -> Self {
        Self { files, checkpoint }
    }

    fn with<T>(&self, read: impl FnOnce(&TileHashReader<'_>) -> Result<T, TreeError>) -> Result<T, LogError> {
        let found = Found(self.files);
        read(&TileHashReader::new(self.checkpoint.size(), self.checkpoint.root().into(), &found))
            .map_err(|e| changed(&e))
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
        let path = self.with(|tree| tlog_tiles::prove_record(size, index, tree))?;
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
        let path = self.with(|tree| tlog_tiles::prove_tree(size, earlier, tree))?;
        Ok(path.into_iter().map(TreeHash::from).collect())
    }

    /// The entries of tile `n`, in order.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn entries(&self, n: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let size = self.checkpoint.size();
        let width = size.saturating_sub(n.saturating_mul(WIDTH)).min(WIDTH);
        if width == 0 {
            return Err(LogError::Nothing { index: n.saturating_mul(WIDTH), size });
        }
        let at = name("entries", n, width);
        let bytes = Found(self.files).tile("entries", n, width, (ENTRY_MAX + 2) << HEIGHT);
        let bytes = bytes.map_err(|e| LogError::Io(at.clone(), e))?;
        let entries = split(&bytes, width).ok_or_else(|| LogError::Changed(at.clone()))?;
        let wanted: Vec<u64> =
            (n * WIDTH..n * WIDTH + width).map(|i| tlog_tiles::stored_hash_index(0, i)).collect();
        let hashes = self.with(|tree| tree.read_hashes(&wanted))?;
        let is_right = entries.iter().zip(hashes).all(|(entry, hash)| tlog_tiles::record_hash(entry) == hash);
        if is_right { Ok(entries) } else { Err(LogError::Changed(at)) }
    }

    /// One entry.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let size = self.checkpoint.size();
        let mut entries = self.entries(index / WIDTH)?;
        let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        if at < entries.len() { Ok(entries.swap_remove(at)) } else { Err(LogError::Nothing { index, size }) }
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

/// Hashes of entries that are being written, before the tree that has them.
struct Growing<'a> {
    before: &'a TileHashReader<'a>,
    new: HashMap<u64, Hash>,
}

impl HashReader for Growing<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TreeError> {
        let old: Vec<u64> = indexes.iter().copied().filter(|i| !self.new.contains_key(i)).collect();
        let mut old = if old.is_empty() { vec![] } else { self.before.read_hashes(&old)? }.into_iter();
        let one = |i: &u64| self.new.get(i).copied().or_else(|| old.next()).ok_or(TreeError::BadMath);
        indexes.iter().map(one).collect()
    }
}

/// A log that this process, and no other, writes.
pub struct Log {
    dir: Dir,
    signer: Signer,
    checkpoint: Checkpoint,
    alone: std::fs::File,
}

impl Log {
    /// Begins a log without entries.
    ///
    /// # Errors
    /// [`LogError::Other`] if there is one; [`LogError::Io`].
    pub fn create(dir: Dir, signer: Signer) -> Result<Self, LogError> {
        let alone = lock(&dir)?;
        if dir.exists(CHECKPOINT) {
            return Err(LogError::Other("there is a log in this folder already; a log is never begun anew".into()));
        }
        let mut checkpoint = Checkpoint::new(signer.verifier().name(), 0, TreeHash::from(tlog_tiles::EMPTY_HASH))?;
        checkpoint.note_mut().sign(&signer, 0);
        checkpoint.check(signer.verifier())?;
        let log = Self { dir, signer, checkpoint, alone };
        log.publish()?;
        Ok(log)
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`LogError`]; its checkpoint must be signed by this key.
    pub fn open(dir: Dir, signer: Signer) -> Result<Self, LogError> {
        let alone = lock(&dir)?;
        let checkpoint = newest(&dir)?;
        checkpoint.check(signer.verifier())?;
        Ok(Self { dir, signer, checkpoint, alone })
    }

    /// The newest tree.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its files, to read from.
    pub fn files(&self) -> &Dir {
        &self.dir
    }

    /// The newest tree, to prove from.
    pub fn tree(&self) -> Tree<'_, Dir> {
        Tree::new(&self.dir, &self.checkpoint)
    }

    /// Adds entries, and answers their numbers. They are in the log when this returns.
    ///
    /// # Errors
    /// [`LogError`]. What was added before an error stays.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> Result<Range<u64>, LogError> {
        if let Some(bad) = entries.iter().find(|e| e.is_empty() || e.len() > ENTRY_MAX) {
            return Err(LogError::Entry(bad.len()));
        }
        let first = self.checkpoint.size();
        if first.saturating_add(entries.len() as u64) > SIZE_MAX {
            return Err(LogError::Full);
        }
        for batch in entries.chunks(BATCH) {
            self.append_batch(batch)?;
        }
        Ok(first..self.checkpoint.size())
    }

    fn append_batch(&mut self, entries: &[Vec<u8>]) -> Result<(), LogError> {
        let old = self.checkpoint.size();
        let new = old + entries.len() as u64;
        let found = Found(&self.dir);
        let before = TileHashReader::new(old, self.checkpoint.root().into(), &found);
        let mut growing = Growing { before: &before, new: HashMap::with_capacity(2 * entries.len()) };
        if old > 0 {
            // All that an entry's parents are made of beside it, read once.
            let edge = tlog_tiles::sub_tree_index(0, old, vec![]);
            let hashes = before.read_hashes(&edge).map_err(|e| changed(&e))?;
            growing.new.extend(edge.into_iter().zip(hashes));
        }
        for (n, entry) in (old..).zip(entries) {
            let hashes = tlog_tiles::stored_hashes(n, entry, &growing).map_err(|e| changed(&e))?;
            growing.new.extend((tlog_tiles::stored_hash_index(0, n)..).zip(hashes));
        }
        let root = tlog_tiles::tree_hash(new, &growing).map_err(|e| changed(&e))?;
        let mut filled = vec![];
        for tile in Tile::new_tiles(HEIGHT, old, new) {
            let data = tile.read_data(&growing).map_err(|e| changed(&e))?;
            self.write(&tile_name(&tile), &data)?;
            if u64::from(tile.width()) == WIDTH {
                filled.push(tile_name(&tile));
            }
        }
        for n in old / WIDTH..new.div_ceil(WIDTH) {
            let (from, to) = (n * WIDTH, (n * WIDTH + WIDTH).min(new));
            let mut bytes = vec![];
            let kept = if from < old { self.tree().entries(n)? } else { vec![] };
            let added = &entries[index(from.max(old) - old)..index(to - old)];
            for entry in kept.iter().chain(added) {
                let length = u16::try_from(entry.len()).map_err(|_| LogError::Entry(entry.len()))?;
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(entry);
            }
            self.write(&name("entries", n, to - from), &bytes)?;
            if to - from == WIDTH {
                filled.push(name("entries", n, WIDTH));
            }
        }
        let mut checkpoint = Checkpoint::new(self.checkpoint.origin(), new, root.into())?;
        checkpoint.note_mut().sign(&self.signer, 0);
        self.checkpoint = checkpoint;
        self.publish()?;
        // Parts of what is whole now: nobody misses them, and who cannot remove them has them lie there.
        for whole in filled {
            let _ = self.dir.remove_dir_all(format!("{whole}.p"));
        }
        Ok(())
    }

    /// Takes over a witness's cosignature of the newest tree; whether there was one.
    ///
    /// # Errors
    /// [`LogError`]: a signature in its name that is not its, or another role's key.
    pub fn cosigned(&mut self, note: &crate::Note, witness: &crate::Verifier) -> Result<bool, LogError> {
        if witness.role() != Role::Witness {
            let why = crate::NoteError::Role(witness.name().to_string(), witness.role());
            return Err(ProofError::from(why).into());
        }
        let merged = self.checkpoint.note_mut().merge(note, witness).map_err(ProofError::from)?;
        if merged {
            self.publish()?;
        }
        Ok(merged)
    }

    fn publish(&self) -> Result<(), LogError> {
        self.write(CHECKPOINT, self.checkpoint.note().to_string().as_bytes())
    }

    /// Puts a file in its place, whole or not at all, and on the disk.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LogError> {
        let err = |e| LogError::Io(name.to_string(), e);
        let (folder, part) = name.rsplit_once('/').unwrap_or((".", name));
        let part = format!("{folder}/.{part}.part");
        self.dir.create_dir_all(folder).map_err(err)?;
        let mut options = OpenOptions::new();
        let mut file = self.dir.open_with(&part, options.write(true).create(true).truncate(true)).map_err(err)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(err)?;
        self.dir.rename(&part, &self.dir, name).map_err(err)?;
        // The name is on the disk when its folder is.
        self.dir.open(folder).and_then(|folder| folder.sync_all()).map_err(err)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started still has the descriptor.
        let _ = self.alone.unlock();
    }
}

fn lock(dir: &Dir) -> Result<std::fs::File, LogError> {
    let err = |e| LogError::Io(".lock".into(), e);
    let mut options = OpenOptions::new();
    let file = dir.open_with(".lock", options.write(true).create(true)).map_err(err)?.into_std();
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse),
        Err(TryLockError::Error(e)) => Err(err(e)),
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;
    use crate::key::Verifier;

    fn signer() -> Signer {
        Signer::new("log.example", Role::Log, [1; 32]).unwrap()
    }

    fn folder() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        (temp, dir)
    }

    fn entry(n: u64) -> Vec<u8> {
        format!("entry {n}").into_bytes()
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(number(1_234_067), "x001/x234/067");
        assert_eq!(name("0", 5, WIDTH), "tile/0/005");
        assert_eq!(name("entries", 1000, 7), "tile/entries/x001/000.p/7");
    }

    #[test]
    fn every_entry_is_proven_in_every_tree_and_every_tree_is_the_beginning_of_later_ones() {
        let (_temp, dir) = folder();
        let mut log = Log::create(dir.try_clone().unwrap(), signer()).unwrap();
        let (mut trees, mut size) = (vec![log.checkpoint().clone()], 0);
        for many in [1, 1, 3, 250, 1, 1, 260, 511, 40] {
            let entries: Vec<_> = (size..size + many).map(entry).collect();
            assert_eq!(log.append(&entries).unwrap(), size..size + many);
            size += many;
            assert_eq!(log.checkpoint().size(), size);
            trees.push(log.checkpoint().clone());
            for n in [0, size / 2, size - 1] {
                let proof = Proof::parse(log.tree().prove(n).unwrap().to_string().as_bytes()).unwrap();
                proof.check(&entry(n)).unwrap();
                proof.checkpoint.check(signer().verifier()).unwrap();
                assert!(proof.check(&entry(n + 1)).is_err());
                assert_eq!(log.tree().entry(n).unwrap(), entry(n));
            }
        }
        for (n, later) in trees.iter().enumerate() {
            for earlier in &trees[..=n] {
                let path = Tree::new(&dir, later).prove_beginning(earlier.size()).unwrap();
                later.extends(earlier, &path).unwrap();
                let other = Checkpoint::new("log.example", earlier.size(), TreeHash([9; 32])).unwrap();
                assert!(later.extends(&other, &path).is_err(), "{} in {}", earlier.size(), later.size());
            }
        }
        assert!(matches!(log.tree().prove(size), Err(LogError::Nothing { .. })));
        assert!(matches!(Log::open(dir.try_clone().unwrap(), signer()), Err(LogError::InUse)));
        drop(log);
        let again = Log::open(dir.try_clone().unwrap(), signer()).unwrap();
        assert_eq!(again.checkpoint(), trees.last().unwrap());
        drop(again);
        let other = Signer::new("log.example", Role::Log, [2; 32]).unwrap();
        assert!(matches!(Log::open(dir.try_clone().unwrap(), other), Err(LogError::Proof(_))));
        assert!(matches!(Log::create(dir, signer()), Err(LogError::Other(_))));
    }

    #[test]
    fn what_was_changed_in_a_logs_files_is_found() {
        let (temp, dir) = folder();
        let mut log = Log::create(dir, signer()).unwrap();
        log.append(&(0..300).map(entry).collect::<Vec<_>>()).unwrap();
        for file in ["tile/0/000", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"] {
            let path = temp.path().join(file);
            let bytes = std::fs::read(&path).unwrap();
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut other = bytes.clone();
                other[at] ^= 1;
                std::fs::write(&path, &other).unwrap();
                let read = (0..2).map(|n| log.tree().entries(n)).collect::<Result<Vec<_>, _>>();
                assert!(read.is_err(), "{file} at {at}");
            }
            std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            assert!((0..2).any(|n| log.tree().entries(n).is_err()), "{file}");
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(log.tree().entries(0).is_ok() && log.tree().entries(1).is_ok());
    }

    #[test]
    fn an_unclean_end_leaves_the_tree_of_the_checkpoint() {
        let (temp, dir) = folder();
        let mut log = Log::create(dir.try_clone().unwrap(), signer()).unwrap();
        log.append(&(0..255).map(entry).collect::<Vec<_>>()).unwrap();
        let (before, kept) = (log.checkpoint().clone(), std::fs::read(temp.path().join("checkpoint")).unwrap());
        log.append(&[b"lost".to_vec(), b"too".to_vec()]).unwrap();
        drop(log);
        // The machine stopped before the checkpoint was there.
        std::fs::write(temp.path().join("checkpoint"), kept).unwrap();
        let mut log = Log::open(dir, signer()).unwrap();
        assert_eq!(log.checkpoint(), &before);
        log.append(&(255..600).map(entry).collect::<Vec<_>>()).unwrap();
        for n in 0..3 {
            let entries = log.tree().entries(n).unwrap();
            assert!(entries.iter().zip(n * WIDTH..).all(|(e, n)| *e == entry(n)));
        }
    }

    #[test]
    fn cosignatures_are_taken_from_whom_they_are_of() {
        let (_temp, dir) = folder();
        let mut log = Log::create(dir, signer()).unwrap();
        log.append(&[entry(0)]).unwrap();
        let witness = Signer::new("witness.example", Role::Witness, [5; 32]).unwrap();
        let mut note = crate::Note::new(log.checkpoint().note().text()).unwrap();
        note.sign(&witness, 1_790_000_000);
        assert!(log.cosigned(&note, witness.verifier()).unwrap());
        assert_eq!(newest(log.files()).unwrap().note().signed_by(witness.verifier()), Ok(Some(1_790_000_000)));
        let other: Verifier = Signer::new("other.example", Role::Witness, [6; 32]).unwrap().verifier().clone();
        assert!(!log.cosigned(&note, &other).unwrap());
        assert!(log.cosigned(&note, signer().verifier()).is_err());
        for bad in [vec![], vec![0; ENTRY_MAX + 1]] {
            assert!(matches!(log.append(&[entry(1), bad]), Err(LogError::Entry(_))));
        }
        assert_eq!(log.checkpoint().size(), 1);
    }
}
