#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::ambient_authority;

use super::*;

const ALICE: NodeId = NodeId::from_bytes([0xa; 32]);
const BOB: NodeId = NodeId::from_bytes([0xb; 32]);
/// What an entry of up to 496 spans takes beside them.
const OVERHEAD: u64 = 8 << 10;

fn hash(n: u64) -> Hash {
    Hash::from(blake3::hash(&n.to_le_bytes()))
}

/// Bytes that differ at every place and for every input.
pub(super) fn content(hash: Hash, size: u64, start: u64, end: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(hash.as_bytes()).update(&size.to_le_bytes());
    let mut bytes = vec![0; (end - start) as usize];
    let mut reader = hasher.finalize_xof();
    reader.set_position(start);
    reader.fill(&mut bytes);
    bytes
}

fn open(path: &Path, budget: u64) -> InputCache {
    InputCache::open(Dir::open_ambient_dir(path, ambient_authority()).unwrap(), budget).unwrap()
}

fn open_bounded(path: &Path, budget: u64, bounds: Bounds) -> InputCache {
    let dir = Dir::open_ambient_dir(path, ambient_authority()).unwrap();
    InputCache::open_on(Box::new(Folder::new(dir).unwrap()), budget, bounds).unwrap()
}

/// Does for a range what a job does, with an honest peer.
pub(super) fn fetch(lease: &Lease, start: u64, end: u64) -> Result<(), CacheError> {
    while let Some((from, to)) = lease.next_missing(start, end) {
        let room = lease.reserve(from, to)?;
        lease.fill_blocking(room, from, &content(lease.hash(), lease.size(), from, to))?;
    }
    Ok(())
}

async fn read(lease: &Lease, start: u64, end: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; (end - start) as usize];
    lease.read_at(start, &mut bytes).await.map(|()| bytes)
}

async fn assert_right(lease: &Lease, start: u64, end: u64) {
    assert!(read(lease, start, end).await.unwrap() == content(lease.hash(), lease.size(), start, end));
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn descriptors_below(path: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|e| std::fs::read_link(e.path()).ok());
    links.filter(|l| l.starts_with(path) && l != path).count()
}

#[tokio::test]
async fn spans_that_were_synced_survive_a_restart_and_the_rest_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let size = 12 * SPAN + 10;
    let used = {
        let cache = open(dir.path(), 100 * SPAN);
        let lease = cache.lease(hash(1), size, ALICE);
        fetch(&lease, SPAN, 3 * SPAN).unwrap();
        cache.sync().unwrap();
        let used = cache.used();
        fetch(&lease, 6 * SPAN, 7 * SPAN).unwrap();
        used
    };
    let cache = open(dir.path(), 100 * SPAN);
    assert_eq!(cache.used(), used);
    assert_eq!(used, 2 * SPAN + 10 + OVERHEAD);
    let lease = cache.lease(hash(1), size, BOB);
    assert_eq!(lease.next_missing(SPAN, 3 * SPAN), None);
    assert_eq!(lease.next_missing(SPAN, size), Some((3 * SPAN, 3 * SPAN + FETCH_MAX)));
    assert_eq!(lease.next_missing(3 * SPAN, 4 * SPAN + 1), Some((3 * SPAN, 5 * SPAN)));
    assert_eq!(lease.next_missing(12 * SPAN, size), None);
    assert_right(&lease, SPAN, 3 * SPAN).await;
    assert!(read(&lease, 6 * SPAN, 7 * SPAN).await.is_err());
}

#[test]
fn nothing_is_made_before_the_last_span_proves_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 100 * SPAN);
    let size = 3 * SPAN + 1;
    let lease = cache.lease(hash(1), size, ALICE);
    assert_eq!(lease.next_missing(0, 1), Some((3 * SPAN, size)));
    let room = lease.reserve(0, SPAN).unwrap();
    assert!(matches!(lease.fill_blocking(room, 0, &vec![0; SPAN as usize]), Err(CacheError::Unproven)));
    let room = lease.reserve(0, SPAN).unwrap();
    assert!(matches!(lease.fill_blocking(room, 1, &vec![0; SPAN as usize]), Err(CacheError::NotSpans(..))));
    let room = lease.reserve(3 * SPAN, size).unwrap();
    assert!(matches!(lease.fill_blocking(room, 3 * SPAN, &[0, 0]), Err(CacheError::NotSpans(..))));
    let other = cache.lease(hash(2), size, ALICE);
    assert!(matches!(other.fill_blocking(lease.reserve(0, 1).unwrap(), 0, &[0]), Err(CacheError::NotReserved)));
    assert!(matches!(cache.lease(hash(1), u64::MAX, BOB).reserve(0, 1), Err(CacheError::TooLarge(_))));
    assert!(names(dir.path()).is_empty());
    assert_eq!(cache.used(), 0);
    assert_eq!(cache.lease(hash(3), 0, ALICE).next_missing(0, 0), None);
}

/// What a stranger does to a victim's hash with other sizes: the worst that a cache could be told.
fn harass(cache: &InputCache, victim: Hash, size: u64) {
    for claimed in [size + 1, size - 1, size + SPAN, 1] {
        let lease = cache.lease(victim, claimed, BOB);
        let (start, end) = lease.next_missing(0, claimed).unwrap();
        drop(lease.reserve(start, end).unwrap());
        // It cannot be: that bytes of another size have the hash.
        let room = lease.reserve(start, end).unwrap();
        lease.fill_blocking(room, start, &vec![0; (end - start) as usize]).unwrap();
    }
    cache.sync().unwrap();
}

#[tokio::test]
async fn another_size_of_a_victims_hash_changes_nothing_for_the_victim() {
    let dir = tempfile::tempdir().unwrap();
    let size = 3 * SPAN + 5;
    {
        let cache = open(dir.path(), 100 * SPAN);
        let lease = cache.lease(hash(1), size, ALICE);
        fetch(&lease, 0, size).unwrap();
        cache.sync().unwrap();
        harass(&cache, hash(1), size);
        assert_right(&lease, 0, size).await;
    }
    let cache = open(dir.path(), 100 * SPAN);
    harass_restarted(&cache, size).await;
}

async fn harass_restarted(cache: &InputCache, size: u64) {
    let lease = cache.lease(hash(1), size, ALICE);
    assert_eq!(lease.next_missing(0, size), None);
    assert_right(&lease, 0, size).await;
    drop(lease);
    cache.set_budget(0);
    cache.set_budget(100 * SPAN);
    let lease = cache.lease(hash(1), size, ALICE);
    fetch(&lease, 0, size).unwrap();
    harass(cache, hash(1), size);
    assert_right(&lease, 0, size).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_size_of_a_hash_changes_nothing_while_the_victim_reads() {
    let dir = tempfile::tempdir().unwrap();
    let size = 2 * SPAN + 5;
    let cache = open(dir.path(), 8 * SPAN);
    let lease = cache.lease(hash(1), size, ALICE);
    fetch(&lease, 0, size).unwrap();
    let hostile = cache.clone();
    let hostile = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            harass(&hostile, hash(1), size);
            hostile.set_budget(0);
            hostile.set_budget(8 * SPAN);
        }
    });
    while !hostile.is_finished() {
        assert_right(&lease, 0, size).await;
    }
    hostile.await.unwrap();
}

#[tokio::test]
async fn ten_thousand_inputs_cost_no_descriptor_and_reading_them_few() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let leases: Vec<_> = (0..10_000).map(|n| cache.lease(hash(n), 1, ALICE)).collect();
    assert_eq!(descriptors_below(dir.path()), 0);
    assert!(names(dir.path()).is_empty());
    for lease in &leases {
        fetch(lease, 0, 1).unwrap();
    }
    for lease in leases.iter().step_by(3) {
        assert_right(lease, 0, 1).await;
    }
    assert_eq!(cache.inner.descriptors.count(), DESCRIPTORS_MAX.get());
    assert!(descriptors_below(dir.path()) <= DESCRIPTORS_MAX.get() + 2);
    cache.inner.state.lock().invariant_books_balance();
    let read = leases.into_iter().step_by(3).next_back().unwrap();
    cache.sync().unwrap();
    assert_right(&read, 0, 1).await;
    cache.sync().unwrap();
    assert_eq!(cache.inner.descriptors.count(), 1, "what nobody reads is closed");
}

#[test]
fn budget_evicts_the_least_recently_used_and_never_what_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 2 * (SPAN + OVERHEAD));
    for n in [1, 2] {
        fetch(&cache.lease(hash(n), SPAN, ALICE), 0, SPAN).unwrap();
    }
    let held = cache.lease(hash(1), SPAN, ALICE);
    let third = cache.lease(hash(3), SPAN, ALICE);
    fetch(&third, 0, SPAN).unwrap();
    assert_eq!(held.next_missing(0, SPAN), None);
    assert!(cache.lease(hash(2), SPAN, ALICE).next_missing(0, SPAN).is_some());
    assert!(matches!(cache.lease(hash(4), 1, BOB).reserve(0, 1), Err(CacheError::Full(_))));
    assert_eq!(names(dir.path()).len(), 4);
    drop((held, third));
    // What could never fit costs nobody anything.
    assert!(matches!(cache.lease(hash(4), 3 * SPAN, BOB).reserve(0, 3 * SPAN), Err(CacheError::Full(_))));
    assert_eq!(names(dir.path()).len(), 4);
    cache.set_budget(SPAN + OVERHEAD);
    assert_eq!(names(dir.path()).len(), 2);
    cache.set_budget(0);
    assert!(names(dir.path()).is_empty());
    assert_eq!(cache.used(), 0);
}

#[test]
fn the_flood_of_one_tenant_costs_its_own_entries_first() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 8 * (SPAN + OVERHEAD));
    for n in 0..3 {
        fetch(&cache.lease(hash(n), SPAN, ALICE), 0, SPAN).unwrap();
    }
    for n in 100..150 {
        fetch(&cache.lease(hash(n), SPAN, BOB), 0, SPAN).unwrap();
        cache.inner.state.lock().invariant_books_balance();
    }
    for n in 0..3 {
        assert_eq!(cache.lease(hash(n), SPAN, ALICE).next_missing(0, SPAN), None);
    }
    assert_eq!(cache.lease(hash(149), SPAN, BOB).next_missing(0, SPAN), None);
    drop(cache);
    assert_eq!(names(dir.path()).len(), 16);
}

#[test]
fn a_flood_of_small_entries_costs_its_own_entries_first() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_bounded(dir.path(), 1 << 30, Bounds { entries: 20, ..BOUNDS });
    for n in 0..3 {
        fetch(&cache.lease(hash(n), 9 * SPAN, ALICE), 0, 9 * SPAN).unwrap();
    }
    for n in 100..150 {
        fetch(&cache.lease(hash(n), 1, BOB), 0, 1).unwrap();
    }
    assert_eq!(names(dir.path()).len(), 40);
    for n in 0..3 {
        assert_eq!(cache.lease(hash(n), 9 * SPAN, ALICE).next_missing(0, 9 * SPAN), None);
    }
    cache.sync().unwrap();
    drop(cache);
    open_bounded(dir.path(), 1 << 30, Bounds { entries: 5, ..BOUNDS });
    assert_eq!(names(dir.path()).len(), 10);
}

#[test]
fn who_fills_the_same_span_second_changes_nothing_and_pays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 100 * SPAN);
    let (alice, bob) = (cache.lease(hash(1), SPAN, ALICE), cache.lease(hash(1), SPAN, BOB));
    let (first, second) = (alice.reserve(0, SPAN).unwrap(), bob.reserve(0, SPAN).unwrap());
    assert_eq!(cache.used(), 2 * (SPAN + OVERHEAD));
    alice.fill_blocking(first, 0, &content(hash(1), SPAN, 0, SPAN)).unwrap();
    bob.fill_blocking(second, 0, &vec![0; SPAN as usize]).unwrap();
    assert_eq!(cache.used(), SPAN + OVERHEAD);
    let mut kept = vec![0; SPAN as usize];
    let file = std::fs::File::open(dir.path().join(format!("{}-{SPAN}", hash(1)))).unwrap();
    file.read_exact_at(&mut kept, 0).unwrap();
    assert!(kept == content(hash(1), SPAN, 0, SPAN));
}

#[tokio::test]
async fn what_a_dropped_fetch_reserved_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), SPAN + OVERHEAD);
    let lease = cache.lease(hash(1), SPAN, ALICE);
    let mut fetching = Box::pin(async {
        let _room = lease.reserve(0, SPAN).unwrap();
        std::future::pending::<()>().await;
    });
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(fetching.as_mut().poll(cx).is_pending())).await);
    assert_eq!(cache.used(), SPAN + OVERHEAD);
    drop(fetching);
    assert_eq!(cache.used(), 0);
    let room = lease.reserve(0, SPAN).unwrap();
    lease.fill(room, 0, content(hash(1), SPAN, 0, SPAN)).await.unwrap();
    assert_right(&lease, 0, SPAN).await;
}

#[tokio::test]
async fn a_tenant_waits_for_its_own_fetch_and_for_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), SPAN);
    let (one, two, bob) =
        (cache.lease(hash(1), 9, ALICE), cache.lease(hash(1), 9, ALICE), cache.lease(hash(1), 9, BOB));
    let held = one.fetching().await;
    drop(bob.fetching().await);
    let mut waiting = Box::pin(two.fetching());
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
    drop(held);
    drop(waiting.await);
}

#[tokio::test]
async fn an_entry_that_somebody_removed_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_bounded(dir.path(), 1 << 30, Bounds { descriptors: NonZeroUsize::MIN, ..BOUNDS });
    let (lease, other) = (cache.lease(hash(1), 9, ALICE), cache.lease(hash(2), 9, ALICE));
    fetch(&lease, 0, 9).unwrap();
    fetch(&other, 0, 9).unwrap();
    for name in names(dir.path()) {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert!(read(&lease, 0, 9).await.is_err());
    fetch(&lease, 0, 9).unwrap();
    assert_right(&lease, 0, 9).await;
}

/// Changes a byte of a file, as a disk might.
fn damage(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[tokio::test]
async fn what_a_disk_gives_back_otherwise_than_it_was_given_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (size, cache) = (5 * SPAN + 10, open(dir.path(), 100 * SPAN));
    let key = Key { hash: hash(1), size };
    let data = dir.path().join(key.data());
    let lease = cache.lease(key.hash, size, ALICE);
    fetch(&lease, 0, size).unwrap();
    cache.sync().unwrap();
    drop(lease);
    let used = cache.used();
    // Each job looks for itself, at what it reads; a span is found wherever in it a job reads.
    for (from, to, changed, lost) in [
        (10, 20, SPAN - 1, (0, SPAN)),
        (0, size, 3 * SPAN, (3 * SPAN, 4 * SPAN)),
        (5 * SPAN, size, 5 * SPAN + 9, (5 * SPAN, size)),
    ] {
        damage(&data, changed);
        let lease = cache.lease(key.hash, size, BOB);
        assert_eq!(lease.next_missing(from, to), None);
        assert!(matches!(read(&lease, from, to).await, Err(ReadError::Lost)));
        assert_eq!(lease.next_missing(from, to), Some(lost));
        assert_eq!(cache.used(), used - (lost.1 - lost.0));
        cache.inner.state.lock().invariant_books_balance();
        fetch(&lease, from, to).unwrap();
        assert_right(&lease, from, to).await;
        cache.inner.state.lock().invariant_books_balance();
    }
    // What was cut off, and what another run finds, which knows no more than the map.
    cache.sync().unwrap();
    drop(cache);
    damage(&data, 2 * SPAN);
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(5 * SPAN).unwrap();
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(size).unwrap();
    let cache = open(dir.path(), 100 * SPAN);
    let lease = cache.lease(key.hash, size, ALICE);
    assert_eq!(lease.next_missing(0, size), None);
    assert!(read(&lease, 0, size).await.is_err());
    assert_eq!(lease.next_missing(0, size), Some((2 * SPAN, 3 * SPAN)));
    assert_eq!(lease.next_missing(3 * SPAN, size), Some((5 * SPAN, size)));
    assert_right(&lease, SPAN, 2 * SPAN).await;
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(SPAN).unwrap();
    let other = cache.lease(key.hash, size, ALICE);
    assert!(matches!(read(&other, SPAN, SPAN + 1).await, Err(ReadError::Lost)));
    fetch(&other, 0, size).unwrap();
    let gone = read(&other, 3 * SPAN, 4 * SPAN).await;
    assert!(matches!(gone, Err(ReadError::Lost)), "a hole that the file's end left");
    fetch(&other, 0, size).unwrap();
    assert_right(&other, 0, 4 * SPAN).await;
}

#[test]
fn the_sweep_keeps_whole_pairs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 100 * SPAN);
    for n in 0..5 {
        fetch(&cache.lease(hash(n), SPAN + 9, ALICE), 0, SPAN + 9).unwrap();
    }
    cache.sync().unwrap();
    drop(cache);
    let at = |name: String| dir.path().join(name);
    let name = |n: u64| format!("{}-{}", hash(n), SPAN + 9);
    std::fs::remove_file(at(name(1) + ".map")).unwrap();
    std::fs::remove_file(at(name(2))).unwrap();
    std::fs::OpenOptions::new().write(true).open(at(name(3))).unwrap().set_len(SPAN).unwrap();
    std::fs::OpenOptions::new().append(true).open(at(name(4) + ".map")).unwrap().write_all_at(b"1", 200).unwrap();
    // An earlier layout, a pair that is another's, a link to what must stay, names that no cache made.
    std::fs::write(at(hash(6).to_string()), b"old").unwrap();
    std::fs::write(at(format!("{}.spans", hash(6))), [1]).unwrap();
    std::fs::copy(at(name(0)), at(name(7))).unwrap();
    std::fs::copy(at(name(0) + ".map"), at(name(7) + ".map")).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), at(name(8))).unwrap();
    symlink(at(name(0) + ".map"), at(name(8) + ".map")).unwrap();
    std::fs::create_dir(at(name(9))).unwrap();
    std::fs::write(at("notes.txt".into()), b"mine").unwrap();
    let cache = open(dir.path(), 100 * SPAN);
    assert_eq!(cache.lease(hash(0), SPAN + 9, BOB).next_missing(0, SPAN + 9), None);
    let mut left = vec![name(0), name(0) + ".map", name(9), "notes.txt".into()];
    left.sort();
    assert_eq!(names(dir.path()), left);
    assert!(outside.path().exists());
    assert_eq!(cache.used(), SPAN + 9 + OVERHEAD);
    fetch(&cache.lease(hash(8), SPAN + 9, BOB), 0, SPAN + 9).unwrap();
}

#[test]
fn a_folder_is_one_caches_at_a_time_and_a_second_one_is_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let again = || InputCache::open(Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap(), SPAN);
    let first = again().unwrap();
    let refused = again().unwrap_err();
    assert!(matches!(refused, CacheError::InUse) && refused.to_string().contains("EIDER_HOME"), "{refused}");
    // As long as a job has a part of it.
    let lease = first.lease(hash(1), 1, ALICE);
    drop(first);
    assert!(matches!(again(), Err(CacheError::InUse)));
    drop(lease);
    again().unwrap();
}

/// A folder that for a while cannot remove names, or keeps the first byte of what is written, as one whose disk has an
/// error.
#[derive(Debug)]
struct Reluctant {
    folder: Folder,
    keeps_names: Arc<AtomicBool>,
    tears_data: Arc<AtomicBool>,
}

impl Disk for Reluctant {
    fn create(&self, name: &str, length: u64) -> io::Result<File> {
        self.folder.create(name, length)
    }
    fn open(&self, name: &str) -> io::Result<File> {
        self.folder.open(name)
    }
    fn write(&self, name: &str, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.tears_data.load(Ordering::Relaxed) || name.ends_with(".map") {
            return self.folder.write(name, file, offset, bytes);
        }
        self.folder.write(name, file, offset, &bytes[..1])?;
        Err(io::Error::other("no more"))
    }
    fn sync(&self, name: &str, file: &File) -> io::Result<()> {
        self.folder.sync(name, file)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_names()
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        match self.keeps_names.load(Ordering::Relaxed) {
            true if name.ends_with(".map") && self.folder.open(name).is_ok() => Err(io::Error::other("not now")),
            _ => self.folder.unlink(name),
        }
    }
    fn list(&self, each: &mut dyn FnMut(disk::Found)) -> io::Result<()> {
        self.folder.list(each)
    }
}

/// A cache on such a folder, and what makes it reluctant.
fn reluctant(path: &Path) -> (InputCache, Arc<AtomicBool>, Arc<AtomicBool>) {
    let folder = Folder::new(Dir::open_ambient_dir(path, ambient_authority()).unwrap()).unwrap();
    let (keeps_names, tears_data) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let disk = Reluctant { folder, keeps_names: keeps_names.clone(), tears_data: tears_data.clone() };
    (InputCache::open_on(Box::new(disk), 100 * SPAN, BOUNDS).unwrap(), keeps_names, tears_data)
}

#[test]
fn what_could_not_be_removed_counts_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, keeps_names, _) = reluctant(dir.path());
    let lease = |n| cache.lease(hash(n), 9 * SPAN, ALICE);
    for n in [1, 2] {
        fetch(&lease(n), 0, 9 * SPAN).unwrap();
    }
    keeps_names.store(true, Ordering::Relaxed);
    cache.set_budget(0);
    let maps = || names(dir.path()).iter().map(|name| name.ends_with(".map")).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(maps(), [true, true], "the data goes though the map stays");
        assert_eq!(cache.used(), 2 * (9 * SPAN + OVERHEAD));
        cache.inner.state.lock().invariant_books_balance();
        cache.sync().unwrap();
    }
    // Who wants one of them again cannot have it before,
    cache.set_budget(100 * SPAN);
    let again = lease(1);
    assert!(matches!(fetch(&again, 0, 9 * SPAN), Err(CacheError::Io(..))));
    keeps_names.store(false, Ordering::Relaxed);
    fetch(&again, 0, 9 * SPAN).unwrap();
    cache.inner.state.lock().invariant_books_balance();
    // and the other one goes with the next sync.
    assert_eq!(names(dir.path()).len(), 3);
    cache.sync().unwrap();
    assert_eq!(names(dir.path()).len(), 2);
    assert_eq!(cache.used(), 9 * SPAN + OVERHEAD);
    drop(again);
    cache.set_budget(0);
    assert!(names(dir.path()).is_empty());
    assert_eq!(cache.used(), 0);
}

#[test]
fn an_input_whose_write_fails_half_way_is_given_up_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, keeps_names, tears_data) = reluctant(dir.path());
    let lease = cache.lease(hash(1), 9 * SPAN, ALICE);
    fetch(&lease, 8 * SPAN, 9 * SPAN).unwrap();
    tears_data.store(true, Ordering::Relaxed);
    assert!(matches!(fetch(&lease, 0, SPAN), Err(CacheError::Io(..))));
    assert!(names(dir.path()).is_empty());
    assert_eq!(cache.used(), 0);
    // If it cannot even be removed, it counts.
    keeps_names.store(true, Ordering::Relaxed);
    assert!(matches!(fetch(&lease, 0, SPAN), Err(CacheError::Io(..))));
    assert_eq!(cache.used(), OVERHEAD);
    cache.inner.state.lock().invariant_books_balance();
    tears_data.store(false, Ordering::Relaxed);
    keeps_names.store(false, Ordering::Relaxed);
    fetch(&lease, 0, 9 * SPAN).unwrap();
    assert_eq!(cache.used(), 9 * SPAN + OVERHEAD);
}

#[test]
fn no_inputs_take_more_disk_than_their_summary_says() {
    let most = |sizes: &[u64]| {
        let count = u32::try_from(sizes.len()).unwrap();
        disk_of(&eider_protocol::InputsSummary { count, bytes: sizes.iter().sum() })
    };
    let takes = |size: &u64| size + BOUNDS.overhead(*size);
    for sizes in [vec![], vec![1; 10_000], vec![1, SPAN + 1, 3968 * SPAN, 3968 * SPAN + 1, INPUT_MAX]] {
        let (most, takes) = (most(&sizes), sizes.iter().map(takes).sum::<u64>());
        assert!(takes <= most && most <= takes + 256 * sizes.len() as u64 + takes / 1000, "{takes} {most}");
    }
    assert_eq!(most(&[u64::MAX]), u64::MAX);
}
