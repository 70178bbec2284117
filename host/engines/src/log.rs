//! An append-only log in a folder, by whoever has its key.
//!
//! A tree is there before the checkpoint that says so, and the checkpoint is on the disk under a name of its own before anybody sees it: what
//! was once shown is not signed otherwise after an unclean end. What such an end leaves behind the checkpoint's size is written again.

use std::collections::HashMap;
use std::fs::TryLockError;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;

use cap_std::fs::{Dir, OpenOptions};
use tlog_tiles::{Error as TreeError, Hash, HashReader, Tile};

use crate::checkpoint::{Checkpoint, ProofError, SIZE_MAX, TreeHash};
use crate::key::{Role, Signer, Verifier};
use crate::note::{NOTE_MAX, Note, NoteError};
use crate::tree::{CHECKPOINT, ENTRY_MAX, Files, HEIGHT, Tree, WIDTH, name, newest, tile_name};

/// Entries that are added at a time, for each of which two hashes are in memory.
const BATCH: usize = 1 << 16;
/// A checkpoint before it is shown.
const NEXT: &str = ".checkpoint.part";

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
    /// One is there.
    #[error("there is a log in this folder already, or what is left of one; a log is never begun anew")]
    Exists,
    /// A write that failed before.
    #[error("an earlier write to the log failed: open it again, which finds out what is there")]
    Failed,
}

/// Hashes of entries that are being written, beside the tree that they come to.
struct Growing<'a, 't> {
    before: &'a Tree<'t, Dir>,
    new: HashMap<u64, Hash>,
}

impl HashReader for Growing<'_, '_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TreeError> {
        let one = |i: &u64| match self.new.get(i) {
            Some(hash) => Ok(*hash),
            None => self.before.read_hashes(&[*i])?.first().copied().ok_or(TreeError::BadMath),
        };
        indexes.iter().map(one).collect()
    }
}

/// A log that this process, and no other, writes.
pub struct Log {
    dir: Dir,
    signer: Signer,
    checkpoint: Checkpoint,
    failed: bool,
    alone: std::fs::File,
}

impl Log {
    /// Begins a log without entries.
    ///
    /// # Errors
    /// [`LogError::Exists`], [`LogError::Io`]; a key of another role.
    pub fn create(dir: Dir, signer: Signer) -> Result<Self, LogError> {
        let alone = lock(&dir)?;
        if [CHECKPOINT, NEXT, "tile"].into_iter().any(|name| dir.exists(name)) {
            return Err(LogError::Exists);
        }
        let mut checkpoint = Checkpoint::new(signer.verifier().name(), 0, TreeHash::from(tlog_tiles::EMPTY_HASH))?;
        checkpoint.note_mut().sign(&signer, 0).map_err(ProofError::from)?;
        checkpoint.check(signer.verifier())?;
        let mut log = Self { dir, signer, checkpoint: checkpoint.clone(), failed: false, alone };
        log.publish(checkpoint)?;
        Ok(log)
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`LogError`]; its checkpoint must be signed by this key.
    pub fn open(dir: Dir, signer: Signer) -> Result<Self, LogError> {
        let alone = lock(&dir)?;
        let mut checkpoint = newest(&dir)?;
        checkpoint.check(signer.verifier())?;
        // Whole, it may have been shown before an unclean end.
        let next = Files::read(&dir, NEXT, NOTE_MAX).ok().and_then(|bytes| Checkpoint::parse(&bytes).ok());
        let next = next.filter(|n| n.size() >= checkpoint.size() && n.check(signer.verifier()).is_ok());
        if let Some(next) = next {
            dir.rename(NEXT, &dir, CHECKPOINT).map_err(|e| LogError::Io(NEXT.into(), e))?;
            checkpoint = next;
        }
        Ok(Self { dir, signer, checkpoint, failed: false, alone })
    }

    /// The newest tree.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The newest tree, to prove from.
    pub fn tree(&self) -> Tree<'_, Dir> {
        Tree::new(&self.dir, &self.checkpoint)
    }

    /// Adds entries, and answers their numbers. They are in the log when this returns.
    ///
    /// # Errors
    /// [`LogError`]; after one, nothing more is written before the log is opened again.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> Result<Range<u64>, LogError> {
        if let Some(bad) = entries.iter().find(|e| e.is_empty() || e.len() > ENTRY_MAX) {
            return Err(LogError::Entry(bad.len()));
        }
        let first = self.checkpoint.size();
        if first.saturating_add(entries.len() as u64) > SIZE_MAX {
            return Err(LogError::Full);
        }
        for batch in entries.chunks(BATCH) {
            if self.failed {
                return Err(LogError::Failed);
            }
            self.failed = true;
            let (checkpoint, filled) = self.write_batch(batch)?;
            self.publish(checkpoint)?;
            self.failed = false;
            // Parts of what is whole now: nobody misses them, and who cannot remove them has them lie there.
            for whole in filled {
                let _ = self.dir.remove_dir_all(format!("{whole}.p"));
            }
        }
        Ok(first..self.checkpoint.size())
    }

    /// Writes all of a tree but its checkpoint, and which tiles are whole with it.
    fn write_batch(&self, entries: &[Vec<u8>]) -> Result<(Checkpoint, Vec<String>), LogError> {
        let old = self.checkpoint.size();
        let new = old + entries.len() as u64;
        let before = self.tree();
        let mut growing = Growing { before: &before, new: HashMap::with_capacity(2 * entries.len()) };
        if old > 0 {
            // All that an entry's parents are made of beside it, read once.
            let edge = tlog_tiles::sub_tree_index(0, old, vec![]);
            let hashes = before.read_hashes(&edge).map_err(|e| before.changed(&e))?;
            growing.new.extend(edge.into_iter().zip(hashes));
        }
        for (n, entry) in (old..).zip(entries) {
            let hashes = tlog_tiles::stored_hashes(n, entry, &growing).map_err(|e| before.changed(&e))?;
            growing.new.extend((tlog_tiles::stored_hash_index(0, n)..).zip(hashes));
        }
        let root = tlog_tiles::tree_hash(new, &growing).map_err(|e| before.changed(&e))?;
        let mut filled = vec![];
        for tile in Tile::new_tiles(HEIGHT, old, new) {
            let data = tile.read_data(&growing).map_err(|e| before.changed(&e))?;
            self.write(&tile_name(&tile), &data)?;
            if u64::from(tile.width()) == WIDTH {
                filled.push(tile_name(&tile));
            }
        }
        for n in old / WIDTH..new.div_ceil(WIDTH) {
            let (from, to) = (n * WIDTH, (n * WIDTH + WIDTH).min(new));
            let kept = if from < old { before.entries(n)? } else { vec![] };
            let added = &entries[index(from.max(old) - old)..index(to - old)];
            let mut bytes = vec![];
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
        checkpoint.note_mut().sign(&self.signer, 0).map_err(ProofError::from)?;
        Ok((checkpoint, filled))
    }

    /// Takes over a witness's cosignature of the newest tree; whether there was one.
    ///
    /// # Errors
    /// [`LogError`]: a signature in its name that is not its, another role's key, no room for one more.
    pub fn cosigned(&mut self, note: &Note, witness: &Verifier) -> Result<bool, LogError> {
        if witness.role() != Role::Witness {
            let why = NoteError::Role(witness.name().to_string(), witness.role());
            return Err(ProofError::from(why).into());
        }
        let mut checkpoint = self.checkpoint.clone();
        let merged = checkpoint.note_mut().merge(note, witness).map_err(ProofError::from)?;
        if merged {
            self.publish(checkpoint)?;
        }
        Ok(merged)
    }

    /// Shows a checkpoint, once it cannot be lost any more.
    fn publish(&mut self, checkpoint: Checkpoint) -> Result<(), LogError> {
        let err = |e| LogError::Io(CHECKPOINT.into(), e);
        self.put(NEXT, checkpoint.note().to_string().as_bytes()).map_err(err)?;
        self.sync(".").map_err(err)?;
        self.dir.rename(NEXT, &self.dir, CHECKPOINT).map_err(err)?;
        self.sync(".").map_err(err)?;
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Puts a file in its place, whole or not at all, and on the disk.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LogError> {
        let err = |e| LogError::Io(name.to_string(), e);
        let (folder, file) = name.rsplit_once('/').unwrap_or((".", name));
        let part = format!("{folder}/.{file}.part");
        self.folders(folder).and_then(|()| self.put(&part, bytes)).map_err(err)?;
        self.dir.rename(&part, &self.dir, name).and_then(|()| self.sync(folder)).map_err(err)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = self.dir.open_with(name, options.write(true).create(true).truncate(true))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Makes a folder and those above it; the name of each is on the disk when the one that it is in is.
    fn folders(&self, path: &str) -> io::Result<()> {
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            match self.dir.create_dir(&path[..end]) {
                Ok(()) => self.sync(path[..end].rsplit_once('/').map_or(".", |(above, _)| above))?,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn sync(&self, folder: &str) -> io::Result<()> {
        self.dir.open(folder)?.sync_all()
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
    use crate::checkpoint::Proof;

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
                assert_eq!(log.tree().entries(n / WIDTH).unwrap()[(n % WIDTH) as usize], entry(n));
            }
        }
        for (n, later) in trees.iter().enumerate() {
            for earlier in &trees[..=n] {
                let path = Tree::new(&dir, later).prove_beginning(earlier.size()).unwrap();
                later.extends(earlier, &path).unwrap();
                let Ok(other) = Checkpoint::new("log.example", earlier.size(), TreeHash([9; 32])) else {
                    assert_eq!(earlier.size(), 0, "there is one tree without entries");
                    continue;
                };
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
        assert!(matches!(Log::create(dir, signer()), Err(LogError::Exists)));
    }

    /// Whether something of a log of 300 entries could not be read or proven; all else is right.
    fn read_rightly_or_not_at_all(log: &Log) -> bool {
        let read: Vec<_> = (0..2).map(|n| log.tree().entries(n)).collect();
        let right = (0_u64..2).flat_map(|n| (n * WIDTH..(n * WIDTH + WIDTH).min(300)).map(entry));
        let all: Vec<_> = read.iter().flatten().flatten().cloned().collect();
        let lost = read.iter().any(Result::is_err);
        assert!(lost || all == right.collect::<Vec<_>>());
        let proofs: Vec<_> = [0, 255, 256, 299].map(|n| log.tree().prove(n).map(|p| p.check(&entry(n)))).into();
        assert!(proofs.iter().all(|p| !matches!(p, Ok(Err(_)))));
        lost || proofs.iter().any(Result::is_err)
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
                assert!(read_rightly_or_not_at_all(&log) || !file.contains("entries"), "{file} at {at}");
            }
            std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            assert!(read_rightly_or_not_at_all(&log) || !file.contains("entries"), "{file}");
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
        note.sign(&witness, 1_790_000_000).unwrap();
        assert!(log.cosigned(&note, witness.verifier()).unwrap());
        assert_eq!(newest(&log.dir).unwrap().note().signed_by(witness.verifier()), Ok(Some(1_790_000_000)));
        let other: Verifier = Signer::new("other.example", Role::Witness, [6; 32]).unwrap().verifier().clone();
        assert!(!log.cosigned(&note, &other).unwrap());
        assert!(log.cosigned(&note, signer().verifier()).is_err());
        for bad in [vec![], vec![0; ENTRY_MAX + 1]] {
            assert!(matches!(log.append(&[entry(1), bad]), Err(LogError::Entry(_))));
        }
        assert_eq!(log.checkpoint().size(), 1);
    }

    /// The library's reader of tiles believed some of these.
    #[test]
    fn no_entry_that_is_not_in_the_tree_passes_wherever_the_files_agree_on_it() {
        let (temp, dir) = folder();
        let mut log = Log::create(dir, signer()).unwrap();
        for size in [3, 255, 256, 257, 300, 512, 515, 600, 767, 768, 771, 1025, 1027, 1279, 1536] {
            let old = log.checkpoint().size();
            log.append(&(old..size).map(entry).collect::<Vec<_>>()).unwrap();
            for n in 0..size.div_ceil(WIDTH) {
                let width = (size - n * WIDTH).min(WIDTH);
                let at = |level| temp.path().join(name(level, n, width));
                let genuine = (std::fs::read(at("0")).unwrap(), std::fs::read(at("entries")).unwrap());
                let mut hashes = genuine.0.clone();
                let forged: Vec<Vec<u8>> = (0..width).map(|i| format!("forged {i}").into_bytes()).collect();
                let mut bytes = vec![];
                for (i, entry) in forged.iter().enumerate() {
                    hashes[32 * i..32 * i + 32].copy_from_slice(&TreeHash::of_entry(entry).0);
                    bytes.extend_from_slice(&(entry.len() as u16).to_be_bytes());
                    bytes.extend_from_slice(entry);
                }
                std::fs::write(at("0"), &hashes).unwrap();
                std::fs::write(at("entries"), &bytes).unwrap();
                assert!(log.tree().entries(n).is_err(), "tile {n} of {size}");
                let proof = log.tree().prove(n * WIDTH);
                assert!(proof.is_err() || proof.unwrap().check(&entry(n * WIDTH)).is_ok(), "tile {n} of {size}");
                std::fs::write(at("0"), genuine.0).unwrap();
                std::fs::write(at("entries"), genuine.1).unwrap();
            }
            assert!((0..size.div_ceil(WIDTH)).all(|n| log.tree().entries(n).is_ok()));
        }
    }

    #[test]
    fn what_was_once_shown_is_not_signed_otherwise() {
        let (temp, dir) = folder();
        let mut log = Log::create(dir.try_clone().unwrap(), signer()).unwrap();
        log.append(&[entry(0)]).unwrap();
        let before = std::fs::read(temp.path().join(CHECKPOINT)).unwrap();
        log.append(&[entry(1)]).unwrap();
        let shown = log.checkpoint().clone();
        drop(log);
        // The machine stopped after the rename and before the folder was on the disk.
        std::fs::rename(temp.path().join(CHECKPOINT), temp.path().join(NEXT)).unwrap();
        std::fs::write(temp.path().join(CHECKPOINT), &before).unwrap();
        let log = Log::open(dir.try_clone().unwrap(), signer()).unwrap();
        assert_eq!((log.checkpoint(), log.tree().entries(0).unwrap()[1].clone()), (&shown, entry(1)));
        drop(log);
        std::fs::write(temp.path().join(NEXT), &before[..before.len() - 1]).unwrap();
        assert_eq!(Log::open(dir, signer()).unwrap().checkpoint(), &shown);
    }

    #[test]
    fn a_log_takes_one_cosignature_of_a_witness_and_never_more_than_it_can_read() {
        let (_temp, dir) = folder();
        let mut log = Log::create(dir.try_clone().unwrap(), signer()).unwrap();
        let cosign = |log: &mut Log, n: u8, at| {
            let witness = Signer::new(&format!("w{n}.example"), Role::Witness, [n; 32]).unwrap();
            let mut note = Note::new(log.checkpoint().note().text()).unwrap();
            note.sign(&witness, at).unwrap();
            log.cosigned(&note, witness.verifier())
        };
        for at in 1..100 {
            assert!(cosign(&mut log, 1, at).unwrap());
        }
        let taken = (2..100).filter(|n| cosign(&mut log, *n, 1).is_ok()).count();
        assert_eq!(taken, crate::SIGNATURES_MAX - 2);
        drop(log);
        assert!(Log::open(dir, signer()).is_ok());
    }
}
