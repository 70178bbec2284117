//! A bounded number of places, of which nobody gets more than a share, and for which nobody waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Places that are counted by whom they are given to: a requester, or its network.
pub(crate) struct Places<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    all: usize,
    each: usize,
}

/// A place, until it is dropped.
pub(crate) struct Place<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    who: K,
}

impl<K: Eq + Hash + Copy> Places<K> {
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { taken: Arc::default(), all, each }
    }

    /// A place for `who`, if there is one and it has not its share.
    pub(crate) fn take(&self, who: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock();
        if self.left_of(&taken, &who) == 0 {
            return None;
        }
        *taken.entry(who).or_default() += 1;
        Some(Place { taken: self.taken.clone(), who })
    }

    /// Places that `who` could take now.
    pub(crate) fn left(&self, who: K) -> usize {
        self.left_of(&self.taken.lock(), &who)
    }

    fn left_of(&self, taken: &HashMap<K, usize>, who: &K) -> usize {
        let own = taken.get(who).copied().unwrap_or(0);
        self.each.saturating_sub(own).min(self.all.saturating_sub(taken.values().sum()))
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(own) = taken.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_a_share_and_all_comes_back() {
        let places = Places::new(5, 2);
        let own: Vec<_> = (0..3).map(|_| places.take('a')).collect();
        assert_eq!(own.iter().flatten().count(), 2);
        let others: Vec<_> = "bbcc".chars().map(|who| places.take(who)).collect();
        assert_eq!(others.iter().flatten().count(), 3, "five in all");
        drop(own);
        assert_eq!(['a', 'b', 'c'].map(|who| places.left(who)), [2, 0, 1]);
        assert!(places.take('c').is_some() && places.take('b').is_none());
        drop(others);
        assert!(places.taken.lock().is_empty());
    }
}
