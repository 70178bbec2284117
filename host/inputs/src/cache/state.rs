//! What the cache knows in memory: entries, their spans, their leases. Nothing here touches the disk, and the lock
//! around it is held for no longer than that takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Weak};

use eider_protocol::NodeId;
use parking_lot::Mutex;
use rangemap::RangeSet;

use super::bounds::Bounds;
use super::disk::Key;
use super::ledger::{Idle, Ledger, Short};
use super::map::Mark;

/// One input, as its leases hold it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// Held while its files are made, written, synced or removed: for as long as the disk takes, and no peer.
    pub(super) disk: Mutex<()>,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    leases: usize,
    used_at: u64,
    stage: Stage,
    fetching: HashMap<NodeId, Weak<tokio::sync::Mutex<()>>>,
}

#[derive(Debug)]
enum Stage {
    /// No file; its size is a claim.
    Absent,
    Made(Made),
    /// The files wait for their removal; for everybody else they are gone.
    Doomed(Doomed),
}

#[derive(Debug)]
struct Doomed {
    /// Of its files.
    generation: u64,
    /// Who was charged for which part,
    shares: HashMap<NodeId, u64>,
    /// and is again, since they could not be removed.
    stuck: bool,
}

#[derive(Debug)]
struct Made {
    /// Tells these files from those that had the name before.
    generation: u64,
    present: RangeSet<u64>,
    /// Of each span that is present.
    marks: HashMap<u64, Mark>,
    /// Present, and not yet in the map on the disk.
    dirty: RangeSet<u64>,
    /// Who is charged for which part.
    shares: HashMap<NodeId, u64>,
    idle: Option<Idle>,
}

/// What is on the disk of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDisk {
    Nothing,
    /// Of this generation.
    Files(u64),
    /// Of this generation, to be removed.
    Leftovers(u64),
}

/// Room that was set aside.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) bounds: Bounds,
    pub(super) budget: u64,
    slots: HashMap<Key, Slot>,
    ledger: Ledger,
    reserved: Room,
    made: usize,
    dirty: BTreeSet<Key>,
    doomed: Vec<Arc<Entry>>,
    /// What could not be removed, until the next sync.
    stuck: BTreeMap<Key, Arc<Entry>>,
    /// Whether somebody is removing what is doomed.
    pub(super) removing: bool,
    clock: u64,
}

impl State {
    pub(super) fn new(bounds: Bounds, budget: u64) -> Self {
        Self {
            bounds,
            budget,
            slots: HashMap::new(),
            ledger: Ledger::default(),
            reserved: Room::default(),
            made: 0,
            dirty: BTreeSet::new(),
            doomed: vec![],
            stuck: BTreeMap::new(),
            removing: false,
            clock: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Bytes on the disk, and those that are reserved.
    pub(super) fn used(&self) -> u64 {
        self.ledger.held().saturating_add(self.reserved.bytes)
    }

    /// Entries on the disk.
    pub(super) fn made_count(&self) -> usize {
        self.made
    }

    pub(super) fn lease(&mut self, key: Key) -> Arc<Entry> {
        let now = self.tick();
        let slot = self.slots.entry(key).or_insert_with(|| Slot {
            entry: Arc::new(Entry { key, disk: Mutex::new(()) }),
            leases: 0,
            used_at: now,
            stage: Stage::Absent,
            fetching: HashMap::new(),
        });
        slot.leases += 1;
        slot.used_at = now;
        if let Stage::Made(made) = &mut slot.stage
            && let Some(idle) = made.idle.take()
        {
            self.ledger.wake(idle);
        }
        slot.entry.clone()
    }

    pub(super) fn is_leased(&self, key: Key) -> bool {
        self.slots.get(&key).is_some_and(|slot| slot.leases > 0)
    }

    pub(super) fn release(&mut self, key: Key) {
        let now = self.tick();
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.leases -= 1;
        slot.used_at = now;
        if slot.leases == 0 {
            slot.fetching = HashMap::new();
            self.rest(key);
        }
    }

    /// An entry that no lease holds is forgotten if nothing is on the disk, else it may be given up.
    fn rest(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(&key).filter(|s| s.leases == 0) else { return };
        match &mut slot.stage {
            Stage::Absent => {
                self.slots.remove(&key);
            }
            Stage::Doomed(_) => {}
            Stage::Made(made) => {
                let bytes = made.shares.values().sum();
                let Some((owner, _)) = made.shares.iter().max_by_key(|(tenant, bytes)| (**bytes, **tenant)) else {
                    return;
                };
                let idle = Idle { owner: *owner, used_at: slot.used_at, bytes };
                made.idle = Some(idle);
                self.ledger.rest(key, idle);
            }
        }
    }

    /// What an earlier run left.
    pub(super) fn adopt(&mut self, key: Key, tenant: NodeId, marks: BTreeMap<u64, Mark>) {
        self.lease(key);
        let present: RangeSet<u64> = marks.keys().map(|span| *span..span + 1).collect();
        let bytes = present.iter().map(|run| self.bounds.count(run, key.size)).sum::<u64>();
        self.make(key, present, marks.into_iter().collect());
        self.charge(key, tenant, bytes + self.bounds.overhead(key.size));
        self.release(key);
    }

    fn make(&mut self, key: Key, present: RangeSet<u64>, marks: HashMap<u64, Mark>) -> u64 {
        let generation = self.tick();
        if let Some(slot) = self.slots.get_mut(&key) {
            let (dirty, shares) = (RangeSet::new(), HashMap::new());
            slot.stage = Stage::Made(Made { generation, present, marks, dirty, shares, idle: None });
            self.made += 1;
        }
        generation
    }

    fn charge(&mut self, key: Key, tenant: NodeId, bytes: u64) {
        if let Some(made) = self.made_mut(key) {
            *made.shares.entry(tenant).or_default() += bytes;
            self.ledger.charge(tenant, bytes);
        }
    }

    fn made(&self, key: Key) -> Option<&Made> {
        match &self.slots.get(&key)?.stage {
            Stage::Made(made) => Some(made),
            _ => None,
        }
    }

    fn made_mut(&mut self, key: Key) -> Option<&mut Made> {
        match &mut self.slots.get_mut(&key)?.stage {
            Stage::Made(made) => Some(made),
            _ => None,
        }
    }

    /// For who holds its `disk`. Of an entry that was forgotten, and perhaps leased anew as another one, it is nothing.
    pub(super) fn on_disk(&self, entry: &Entry) -> OnDisk {
        let slot = self.slots.get(&entry.key).filter(|slot| std::ptr::eq(&*slot.entry, entry));
        match slot.map(|s| &s.stage) {
            None | Some(Stage::Absent) => OnDisk::Nothing,
            Some(Stage::Made(made)) => OnDisk::Files(made.generation),
            Some(Stage::Doomed(doomed)) => OnDisk::Leftovers(doomed.generation),
        }
    }

    /// The range to fetch next for `start..end`; see [`super::Lease::next_missing`].
    pub(super) fn next_missing(&self, key: Key, start: u64, end: u64) -> Option<(u64, u64)> {
        let (end, bounds) = (end.min(key.size), &self.bounds);
        if start >= end {
            return None;
        }
        let Some(made) = self.made(key) else {
            return Some(((key.size - 1) / bounds.span * bounds.span, key.size));
        };
        let mut run = made.present.gaps(&bounds.spans(start, end)).next()?;
        run.end = run.end.min(run.start + bounds.fetch / bounds.span);
        let bytes = bounds.bytes(&run, key.size);
        Some((bytes.start, bytes.end))
    }

    /// Which of the files that had this name hold all of `start..end`.
    pub(super) fn generation(&self, key: Key, start: u64, end: u64) -> Option<u64> {
        let made = self.made(key).filter(|_| end <= key.size)?;
        made.present.gaps(&self.bounds.spans(start, end)).next().is_none().then_some(made.generation)
    }

    /// The missing spans of a run.
    pub(super) fn gaps(&self, key: Key, run: &Range<u64>) -> Vec<Range<u64>> {
        self.made(key).map(|made| made.present.gaps(run).collect()).unwrap_or_default()
    }

    /// Sets room aside, at the cost of idle entries. Nothing is given up if that would not be enough.
    pub(super) fn reserve(&mut self, key: Key, bytes: u64) -> Option<Room> {
        let new = self.made(key).is_none();
        let room = Room {
            bytes: bytes.saturating_add(if new { self.bounds.overhead(key.size) } else { 0 }),
            entries: usize::from(new),
        };
        let (idle_bytes, idle_entries) = self.ledger.idle();
        if (self.used() - idle_bytes).saturating_add(room.bytes) > self.budget
            || self.made + self.reserved.entries + room.entries - idle_entries > self.bounds.entries
        {
            return None;
        }
        while let Some(short) = self.short(&room) {
            let victim = self.ledger.victim(short)?;
            self.doom(victim);
        }
        self.reserved.bytes += room.bytes;
        self.reserved.entries += room.entries;
        Some(room)
    }

    fn short(&self, room: &Room) -> Option<Short> {
        if self.made + self.reserved.entries + room.entries > self.bounds.entries {
            return Some(Short::Entries);
        }
        (self.used().saturating_add(room.bytes) > self.budget).then_some(Short::Bytes)
    }

    /// Takes idle entries off the disk until it holds no more than the budget, if there are enough of them.
    pub(super) fn shrink(&mut self) {
        while self.used() > self.budget
            && let Some(victim) = self.ledger.victim(Short::Bytes)
        {
            self.doom(victim);
        }
    }

    /// Gives back what is left of a room.
    pub(super) fn give_back(&mut self, room: &mut Room) {
        let Room { bytes, entries } = mem::take(room);
        self.reserved.bytes -= bytes;
        self.reserved.entries -= entries;
    }

    /// The files were made.
    pub(super) fn created(&mut self, key: Key, tenant: NodeId, room: &mut Room) -> u64 {
        let overhead = self.bounds.overhead(key.size).min(room.bytes);
        self.give_back(&mut Room { bytes: overhead, entries: mem::take(&mut room.entries) });
        room.bytes -= overhead;
        let generation = self.make(key, RangeSet::new(), HashMap::new());
        self.charge(key, tenant, overhead);
        generation
    }

    /// Missing spans were written.
    pub(super) fn filled(&mut self, key: Key, tenant: NodeId, spans: &[(u64, Mark)], room: &mut Room) {
        let bytes = spans.iter().map(|(span, _)| self.bounds.count(&(*span..span + 1), key.size)).sum::<u64>();
        let Some(made) = self.made_mut(key) else { return };
        for (span, mark) in spans {
            made.present.insert(*span..span + 1);
            made.dirty.insert(*span..span + 1);
            made.marks.insert(*span, *mark);
        }
        self.dirty.insert(key);
        let taken = bytes.min(room.bytes);
        self.give_back(&mut Room { bytes: taken, entries: 0 });
        room.bytes -= taken;
        self.charge(key, tenant, bytes);
    }

    /// What a span of these files must be, if it is present.
    pub(super) fn mark(&self, key: Key, generation: u64, span: u64) -> Option<Mark> {
        self.made(key).filter(|made| made.generation == generation)?.marks.get(&span).copied()
    }

    /// Of all spans of a run; 0 for those that are not present.
    pub(super) fn marks(&self, key: Key, run: &Range<u64>) -> Vec<Mark> {
        let marks = self.made(key).map(|made| &made.marks);
        run.clone().map(|span| marks.and_then(|m| m.get(&span)).copied().unwrap_or(0)).collect()
    }

    /// A span is not what was written: it is missing, and nobody is charged for it, until it is filled again. Its mark on the disk
    /// stays, and finds the same if this run ends first.
    pub(super) fn damaged(&mut self, key: Key, generation: u64, span: u64) -> bool {
        let mut left = self.bounds.count(&(span..span + 1), key.size);
        let Some(made) = self.made_mut(key).filter(|made| made.generation == generation) else { return false };
        if made.marks.remove(&span).is_none() {
            return false;
        }
        made.present.remove(span..span + 1);
        made.dirty.remove(span..span + 1);
        // Who filled it is not known any more; whoever holds most is relieved first.
        let mut shares: Vec<_> = made.shares.iter_mut().map(|(tenant, bytes)| (*tenant, bytes)).collect();
        shares.sort_by_key(|(tenant, bytes)| (std::cmp::Reverse(**bytes), *tenant));
        let mut relieved = vec![];
        for (tenant, bytes) in shares {
            let taken = left.min(*bytes);
            *bytes -= taken;
            left -= taken;
            relieved.push((tenant, taken));
        }
        for (tenant, bytes) in relieved {
            self.ledger.discharge(tenant, bytes);
        }
        true
    }

    /// Gives an entry up: at once for everybody, its files with the next [`Self::next_doomed`].
    pub(super) fn doom(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let Stage::Made(made) = &mut slot.stage else { return };
        let (generation, shares, idle) = (made.generation, mem::take(&mut made.shares), made.idle);
        for (tenant, bytes) in &shares {
            self.ledger.discharge(*tenant, *bytes);
        }
        slot.stage = Stage::Doomed(Doomed { generation, shares, stuck: false });
        self.doomed.push(slot.entry.clone());
        self.dirty.remove(&key);
        self.made -= 1;
        if let Some(idle) = idle {
            self.ledger.wake(idle);
        }
    }

    /// An entry that could not be made has left a name that cannot be removed.
    pub(super) fn left(&mut self, key: Key, tenant: NodeId) {
        self.make(key, RangeSet::new(), HashMap::new());
        self.charge(key, tenant, self.bounds.overhead(key.size));
        self.doom(key);
    }

    pub(super) fn any_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    pub(super) fn next_doomed(&mut self) -> Option<Arc<Entry>> {
        self.doomed.pop()
    }

    /// The files of a doomed entry are gone.
    pub(super) fn removed(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if let Stage::Doomed(Doomed { shares, stuck: true, .. }) = mem::replace(&mut slot.stage, Stage::Absent) {
            self.made -= 1;
            for (tenant, bytes) in shares {
                self.ledger.discharge(tenant, bytes);
            }
        }
        self.rest(key);
    }

    /// They are not, and count until they are; whether that is new.
    pub(super) fn not_removed(&mut self, key: Key) -> bool {
        let Some(slot) = self.slots.get_mut(&key) else { return false };
        let Stage::Doomed(doomed) = &mut slot.stage else { return false };
        let first = !mem::replace(&mut doomed.stuck, true);
        if first {
            self.made += 1;
            for (tenant, bytes) in &doomed.shares {
                self.ledger.charge(*tenant, *bytes);
            }
        }
        self.stuck.insert(key, slot.entry.clone());
        self.shrink();
        first
    }

    /// What could not be removed is tried with the next [`Self::next_doomed`].
    pub(super) fn try_stuck_again(&mut self) {
        self.doomed.extend(mem::take(&mut self.stuck).into_values());
    }

    /// Entries with spans that are not yet in their maps; asked again, it names only newer ones.
    pub(super) fn take_dirty(&mut self) -> Vec<Arc<Entry>> {
        mem::take(&mut self.dirty).iter().filter_map(|key| Some(self.slots.get(key)?.entry.clone())).collect()
    }

    /// The spans of an entry that are not yet in its map.
    pub(super) fn dirty(&self, key: Key) -> Option<RangeSet<u64>> {
        self.made(key).map(|made| made.dirty.clone()).filter(|dirty| !dirty.is_empty())
    }

    /// These now are.
    pub(super) fn synced(&mut self, key: Key, spans: &RangeSet<u64>) {
        if let Some(made) = self.made_mut(key) {
            for run in spans.iter() {
                made.dirty.remove(run.clone());
            }
        }
    }

    /// They could not be written; they are tried again with the next sync.
    pub(super) fn still_dirty(&mut self, key: Key) {
        self.dirty.insert(key);
    }

    /// What a tenant's jobs hold while they fetch the same input.
    pub(super) fn fetching(&mut self, key: Key, tenant: NodeId) -> Arc<tokio::sync::Mutex<()>> {
        let Some(slot) = self.slots.get_mut(&key) else { return Arc::default() };
        slot.fetching.retain(|_, lock| lock.strong_count() > 0);
        let held = slot.fetching.get(&tenant).and_then(Weak::upgrade);
        held.unwrap_or_else(|| {
            let lock = Arc::default();
            slot.fetching.insert(tenant, Arc::downgrade(&lock));
            lock
        })
    }

    /// Invariant, for tests: the books agree with the entries.
    #[cfg(test)]
    pub(super) fn invariant_books_balance(&self) {
        let mades: Vec<_> = self.slots.keys().filter_map(|key| Some((*key, self.made(*key)?))).collect();
        let stuck = self.slots.values().filter_map(|slot| match &slot.stage {
            Stage::Doomed(doomed) if doomed.stuck => Some(doomed.shares.values().sum::<u64>()),
            _ => None,
        });
        let stuck: Vec<_> = stuck.collect();
        let bytes = |(key, made): &(Key, &Made)| {
            made.present.iter().map(|run| self.bounds.count(run, key.size)).sum::<u64>()
                + self.bounds.overhead(key.size)
        };
        assert_eq!(self.ledger.held(), mades.iter().map(bytes).sum::<u64>() + stuck.iter().sum::<u64>());
        assert_eq!(self.made, mades.len() + stuck.len());
        for (_, made) in &mades {
            let marked: RangeSet<u64> = made.marks.keys().map(|span| *span..span + 1).collect();
            assert_eq!(marked, made.present);
            assert!(made.dirty.iter().all(|run| made.present.gaps(run).next().is_none()));
        }
        let idle: Vec<_> = mades.iter().filter(|(key, _)| self.slots[key].leases == 0).collect();
        assert_eq!(self.ledger.idle(), (idle.iter().map(|e| bytes(e)).sum(), idle.len()));
        assert!(mades.iter().all(|(key, made)| made.idle.is_some() == (self.slots[key].leases == 0)));
        assert!(self.used() <= self.budget || self.ledger.idle().1 == 0 || self.reserved.bytes > 0);
    }
}
