//! Two hostile tenants, and the power cut at every write. A recorder notes what the cache asks of the disk; for each
//! beginning of that list, folders are built that a power cut could leave there: what was not synced is lost, kept or
//! torn, for each file, name and write by itself. Whatever a cache that opens such a folder calls present must be
//! right.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::disk::Found;
use super::tests::{content, fetch};
use super::*;

#[derive(Clone, Debug)]
enum Op {
    Create(String, u64),
    Write(String, u64, Vec<u8>),
    Sync(String),
    SyncNames,
    Unlink(String),
    /// The cache said that these spans survive from here on.
    Claim(BTreeSet<(Key, u64)>),
}

/// Does what a folder does, and notes it. Only notes a sync: the disk of the test is not what is tested.
#[derive(Debug)]
struct Recorder {
    folder: Folder,
    ops: Arc<Mutex<Vec<Op>>>,
}

impl Disk for Recorder {
    fn create(&self, name: &str, length: u64) -> io::Result<File> {
        self.ops.lock().push(Op::Create(name.into(), length));
        self.folder.create(name, length)
    }
    fn open(&self, name: &str) -> io::Result<File> {
        self.folder.open(name)
    }
    fn write(&self, name: &str, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ops.lock().push(Op::Write(name.into(), offset, bytes.into()));
        self.folder.write(name, file, offset, bytes)
    }
    fn sync(&self, name: &str, _file: &File) -> io::Result<()> {
        self.ops.lock().push(Op::Sync(name.into()));
        Ok(())
    }
    fn sync_names(&self) -> io::Result<()> {
        self.ops.lock().push(Op::SyncNames);
        Ok(())
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        self.ops.lock().push(Op::Unlink(name.into()));
        self.folder.unlink(name)
    }
    fn list(&self, each: &mut dyn FnMut(Found)) -> io::Result<()> {
        self.folder.list(each)
    }
}

const SMALL: Bounds =
    Bounds { span: 64, fetch: 128, entries: 6, descriptors: NonZeroUsize::new(2).unwrap(), input: 1 << 20 };

fn open(path: &Path) -> (InputCache, Arc<Mutex<Vec<Op>>>) {
    let dir = Dir::open_ambient_dir(path, ambient_authority()).unwrap();
    let ops = Arc::default();
    let disk = Recorder { folder: Folder::new(dir).unwrap(), ops: Arc::clone(&ops) };
    (InputCache::open_on(Box::new(disk), 48 << 10, SMALL).unwrap(), ops)
}

/// The victim's hash at its size and next to it, and two more.
fn inputs() -> Vec<Key> {
    let key = |n, size| Key { hash: Hash::from_bytes([n; 32]), size };
    vec![key(1, 300), key(1, 301), key(1, 299), key(1, 64), key(2, 1), key(3, 640)]
}

const TURNS: usize = 80;

/// What two tenants do who take turns as they like.
fn play(cache: &InputCache, ops: &Mutex<Vec<Op>>, path: &Path, rng: &mut SmallRng) {
    let tenants = [1, 2].map(|n| NodeId::from_bytes([n; 32]));
    let mut leases: Vec<Lease> = vec![];
    for _ in 0..TURNS {
        let key = *inputs().choose(rng).unwrap();
        match rng.random_range(0..10) {
            0..4 => {
                let lease = cache.lease(key.hash, key.size, *tenants.choose(rng).unwrap());
                let start = rng.random_range(0..key.size);
                let _ = fetch(&lease, start, rng.random_range(start..=key.size));
                leases.push(lease);
            }
            4 if !leases.is_empty() => {
                // Reserves, and does not come back; or fills what is there.
                let lease = leases.choose(rng).unwrap();
                let end = lease.size().min(64);
                let room = lease.reserve(0, end);
                if let Some(room) = room.ok().filter(|_| rng.random()) {
                    let _ = lease.fill_blocking(room, 0, &content(lease.hash(), lease.size(), 0, end));
                }
            }
            5 => {
                leases.truncate(rng.random_range(0..4));
                cache.set_budget(rng.random_range(0..48 << 10));
                cache.set_budget(48 << 10);
            }
            6 => {
                cache.sync().unwrap();
                let present = assert_present_is_right(path, cache);
                ops.lock().push(Op::Claim(present));
            }
            _ if leases.is_empty() => {}
            _ => drop(leases.swap_remove(rng.random_range(0..leases.len()))),
        }
        cache.inner.state.lock().invariant_books_balance();
    }
}

/// A file that a name may stand for: what is certain of it, and what may have reached the disk since.
#[derive(Default)]
struct Inode {
    synced: Vec<u8>,
    since: Vec<(u64, Vec<u8>)>,
    length: usize,
}

impl Inode {
    fn apply(bytes: &mut Vec<u8>, at: u64, new: &[u8]) {
        let end = at as usize + new.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[at as usize..end].copy_from_slice(new);
    }

    /// One of the contents that it may have after a power cut.
    fn survivor(&self, rng: &mut SmallRng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        if rng.random() {
            bytes.resize(bytes.len().max(self.length), 0);
        }
        for (at, new) in &self.since {
            match rng.random_range(0..3) {
                0 => {}
                1 => Self::apply(&mut bytes, *at, new),
                _ => {
                    let from = rng.random_range(0..new.len());
                    let to = rng.random_range(from..=new.len());
                    Self::apply(&mut bytes, at + from as u64, &new[from..to]);
                }
            }
        }
        bytes
    }
}

/// What the names stand for on a disk that keeps only what it was told to.
#[derive(Default)]
struct Cut {
    inodes: Vec<Inode>,
    now: HashMap<String, usize>,
    /// Each name's past since the folder was last synced.
    names: BTreeMap<String, Vec<Option<usize>>>,
}

impl Cut {
    fn after(ops: &[Op]) -> Self {
        let mut cut = Self::default();
        for op in ops {
            match op {
                Op::Create(name, length) => {
                    cut.now.insert(name.clone(), cut.inodes.len());
                    cut.names.entry(name.clone()).or_insert(vec![None]).push(Some(cut.inodes.len()));
                    cut.inodes.push(Inode { length: *length as usize, ..Inode::default() });
                }
                Op::Write(name, at, bytes) => cut.inodes[cut.now[name]].since.push((*at, bytes.clone())),
                Op::Sync(name) => {
                    let inode = &mut cut.inodes[cut.now[name]];
                    inode.synced.resize(inode.length, 0);
                    for (at, new) in std::mem::take(&mut inode.since) {
                        Inode::apply(&mut inode.synced, at, &new);
                    }
                }
                Op::SyncNames => {
                    for past in cut.names.values_mut() {
                        past.drain(..past.len() - 1);
                    }
                }
                Op::Unlink(name) => {
                    if cut.now.remove(name).is_some() {
                        cut.names.get_mut(name).unwrap().push(None);
                    }
                }
                Op::Claim(_) => {}
            }
        }
        cut
    }

    fn leave(&self, path: &Path, rng: &mut SmallRng) {
        for (name, past) in &self.names {
            if let Some(inode) = past.choose(rng).unwrap() {
                std::fs::write(path.join(name), self.inodes[*inode].survivor(rng)).unwrap();
            }
        }
    }
}

/// What is present, which is right.
fn assert_present_is_right(path: &Path, cache: &InputCache) -> BTreeSet<(Key, u64)> {
    let mut present = BTreeSet::new();
    for key in inputs() {
        for start in (0..key.size).step_by(SMALL.span as usize) {
            let end = (start + SMALL.span).min(key.size);
            if cache.inner.state.lock().generation(key, start, end).is_some() {
                let bytes = std::fs::read(path.join(key.data())).unwrap();
                assert_eq!(bytes.len() as u64, key.size);
                let (from, to) = (start as usize, end as usize);
                assert!(bytes[from..to] == content(key.hash, key.size, start, end), "{key:?} at {start}");
                present.insert((key, start));
            }
        }
    }
    present
}

/// In memory, where there is such a folder: thousands are made.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn two_hostile_tenants_and_a_power_cut_at_every_write_leave_nothing_wrong() {
    let (mut cuts, mut kept) = (0, 0);
    for seed in 0..5 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = folder();
        let (cache, ops) = open(dir.path());
        play(&cache, &ops, dir.path(), &mut rng);
        assert_present_is_right(dir.path(), &cache);
        let ops = ops.lock().clone();
        for length in 0..=ops.len() {
            let cut = Cut::after(&ops[..length]);
            for _ in 0..3 {
                let left = folder();
                cut.leave(left.path(), &mut rng);
                let (cache, _) = open(left.path());
                let present = assert_present_is_right(left.path(), &cache);
                if let Some(Op::Claim(claimed)) = ops[..length].last() {
                    assert!(present.is_superset(claimed), "seed {seed}, {length} operations");
                }
                // The next run begins well on what was left.
                for key in inputs() {
                    fetch(&cache.lease(key.hash, key.size, NodeId::from_bytes([3; 32])), 0, key.size).unwrap();
                }
                assert_present_is_right(left.path(), &cache);
                (cuts, kept) = (cuts + 1, kept + present.len());
            }
        }
    }
    assert!(cuts > 1000 && kept > cuts, "{cuts} cuts, {kept} spans kept: nothing was tried");
}
