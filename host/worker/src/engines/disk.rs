//! What engines take of the donated disk, and which of them goes for another.

use std::path::PathBuf;
use std::sync::Arc;

use eider_protocol::Hash;
use eider_runner::Disk;

use super::{Engines, Why};
use crate::worker::Shared;

/// Engines that are kept beside those that the worker began with.
const KEPT: usize = 32;

/// Bytes of the donated disk.
#[derive(Default)]
pub(super) struct Held {
    /// What is in the store, and images of engines that are here.
    pub(super) kept: u64,
    /// What is about to be.
    pub(super) reserved: u64,
}

/// Bytes of the donated disk, given back when this is dropped: what has come of them by then is counted with what is kept.
pub(super) struct Room<'a> {
    engines: &'a Engines,
    shared: &'a Shared,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut held = self.engines.held.lock();
        held.reserved = held.reserved.saturating_sub(self.bytes);
        self.shared.admission.lock().change_disk(0, self.bytes);
        self.engines.spooled.give_back(self.bytes);
    }
}

impl Engines {
    /// Makes room on the disk for so many bytes more: what no job uses goes, what was asked for longest ago first. Nothing goes for what could
    /// never fit.
    pub(super) fn room<'a>(&'a self, shared: &'a Shared, bytes: u64) -> Result<Room<'a>, Why> {
        let most = self.setup.disk;
        let why = |used: u64| format!("it takes {bytes} bytes of disk; engines may have {most} here, and have {used}");
        if bytes > most {
            return Err(Why::TooLarge(why(0)));
        }
        loop {
            self.count(shared);
            let (kept, oldest) = {
                let state = self.state.lock();
                let idle = state.here.iter().filter(|(_, here)| Arc::strong_count(&here.users) == 1);
                (state.here.len(), idle.min_by_key(|(_, here)| here.used).map(|(engine, _)| *engine))
            };
            let used = {
                let mut held = self.held.lock();
                let used = held.kept.saturating_add(held.reserved);
                if kept < KEPT && used.saturating_add(bytes) <= most {
                    // Nothing of ours goes for what jobs hold.
                    if !shared.admission.lock().take_disk(bytes) {
                        return Err(Why::NoRoom("jobs hold the disk that it would take".into()));
                    }
                    held.reserved += bytes;
                    self.spooled.take(bytes);
                    return Ok(Room { engines: self, shared, bytes });
                }
                used
            };
            if self.sweep_store() {
                continue;
            }
            let oldest = oldest.ok_or_else(|| Why::NoRoom(why(used)))?;
            self.drop_engine(shared, &oldest);
        }
    }

    /// Counts what engines take of the disk, and has it counted against what is donated.
    pub(super) fn count(&self, shared: &Shared) {
        let mut held = self.held.lock();
        let images: u64 = self.state.lock().here.values().map(|here| here.disk).sum();
        let used = match self.setup.store.used() {
            Ok(used) => used.saturating_add(images),
            Err(e) => return tracing::warn!("{e}"),
        };
        let (more, less) = (used.saturating_sub(held.kept), held.kept.saturating_sub(used));
        held.kept = used;
        shared.admission.lock().change_disk(more, less);
        self.spooled.take(more);
        self.spooled.give_back(less);
    }

    /// Removes one build that was fetched and neither comes nor is here; whether there was one. What the owner has put there stays.
    fn sweep_store(&self) -> bool {
        let unused = |engine: &Hash| {
            let state = self.state.lock();
            !state.coming.contains_key(engine)
                && !state.here.contains_key(engine)
                && self.setup.store.is_fetched(engine)
        };
        let all = self.setup.store.hashes().unwrap_or_default();
        all.into_iter().filter(unused).any(|engine| self.setup.store.remove(&engine).unwrap_or(false))
    }

    /// An engine that no job uses is here no more.
    fn drop_engine(&self, shared: &Shared, engine: &Hash) {
        let here = {
            let mut state = self.state.lock();
            // A job may have come this moment.
            let unused = state.here.get(engine).is_some_and(|here| Arc::strong_count(&here.users) == 1);
            let here = if unused { state.here.remove(engine) } else { None };
            let Some(here) = here else { return };
            let mut admission = shared.admission.lock();
            admission.set_engine(*engine, None);
            admission.change_idle(0, here.idle);
            here
        };
        self.setup.pools.remove(engine);
        remove_images(&here.images);
        if self.setup.store.is_fetched(engine)
            && let Err(e) = self.setup.store.remove(engine)
        {
            tracing::warn!("engine {} is not removed from the disk: {e}", here.name);
        }
        tracing::info!("engine {} is dropped", here.name);
    }
}

pub(super) fn remove_images(images: &[PathBuf]) {
    for image in images {
        let _ = std::fs::remove_file(image);
        let _ = std::fs::remove_file(image.with_extension("mac"));
    }
}
