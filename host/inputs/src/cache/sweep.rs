//! What an earlier run left, read once at start: pairs of this layout are used again, all else that begins with a hash
//! is removed. Links are removed, not followed; folders, and names that no cache ever made, are left alone and told.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;

use super::disk::{Disk, FoundKind, Key, is_ours};
use super::map::{self, Map};
use super::state::State;

/// The two files of a key: their lengths, as far as they are there.
#[derive(Default)]
struct Pair {
    data: Option<u64>,
    map: Option<u64>,
}

/// Takes into `state` what is whole, and removes the rest.
pub(super) fn sweep(disk: &dyn Disk, state: &mut State) -> io::Result<()> {
    let mut pairs: BTreeMap<Key, Pair> = BTreeMap::new();
    let (mut leftovers, mut foreign) = (vec![], 0_usize);
    disk.list(&mut |found| match Key::of(&found.name) {
        Some((key, true)) if found.kind == FoundKind::Regular => {
            pairs.entry(key).or_default().map = Some(found.length);
        }
        Some((key, false)) if found.kind == FoundKind::Regular => {
            pairs.entry(key).or_default().data = Some(found.length);
        }
        _ if found.kind != FoundKind::Folder && is_ours(&found.name) => leftovers.push(found.name),
        _ => foreign += 1,
    })?;
    for (key, pair) in pairs {
        match pair_map(disk, state, key, &pair) {
            Some(map) => state.adopt(key, map.tenant, map.present),
            None => leftovers.extend([key.map(), key.data()]),
        }
    }
    for name in &leftovers {
        disk.unlink(name)?;
    }
    if !leftovers.is_empty() {
        tracing::info!("the input cache is rid of {} files that were not whole", leftovers.len());
        // A map that came back would speak for the next file of its name.
        disk.sync_names()?;
    }
    if foreign > 0 {
        tracing::warn!("{foreign} names in the folder of the input cache are not its own; they are left alone");
    }
    Ok(())
}

/// The map of a pair that is whole; nothing if there is none, or no place for one more.
fn pair_map(disk: &dyn Disk, state: &State, key: Key, pair: &Pair) -> Option<Map> {
    let bounds = &state.bounds;
    let length = map::length(key.size, bounds.span);
    let whole = key.size <= bounds.input && pair.data == Some(key.size) && pair.map == Some(length);
    if !whole || state.made_count() >= bounds.entries {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = disk.open(&key.map()).and_then(|file| file.read_exact_at(&mut bytes, 0));
    if let Err(e) = read {
        tracing::warn!("input cache: {} is dropped: {e}", key.map());
        return None;
    }
    map::parse(&bytes, bounds.span).filter(|map| map.key == key && !map.present.is_empty())
}
