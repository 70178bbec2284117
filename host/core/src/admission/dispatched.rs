//! Which Offers were dispatched already, for as long as they could be dispatched again.

use std::collections::{BTreeSet, HashMap};

use eider_protocol::{NodeId, OfferId};

/// Offers of one requester that are remembered at a time: a hundred jobs a second whose Offers are valid for ten minutes.
pub(super) const OFFERS_PER_REQUESTER: u32 = 1 << 16;
/// Offers of all, some 40 MB. When there are more, the one that expires soonest is forgotten: only its own requester can
/// send it again, and pays for that with its quota as for a new one.
const OFFERS: usize = 1 << 18;
/// Expired Offers that are forgotten for each new one, so that no admission takes long.
const SWEEP: usize = 64;

/// Offers that were dispatched, whatever became of the job.
#[derive(Debug, Default)]
pub(super) struct Dispatched {
    offers: HashMap<OfferId, NodeId>,
    /// The same, by the time when they expire, unix seconds.
    expiry: BTreeSet<(i64, OfferId)>,
    of_requester: HashMap<NodeId, u32>,
}

impl Dispatched {
    pub(super) fn contains(&self, id: &OfferId) -> bool {
        self.offers.contains_key(id)
    }

    pub(super) fn count(&self, requester: &NodeId) -> u32 {
        self.of_requester.get(requester).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, id: OfferId, requester: NodeId, expires_s: i64) {
        while self.offers.len() >= OFFERS {
            self.forget_soonest();
        }
        self.offers.insert(id, requester);
        self.expiry.insert((expires_s, id));
        *self.of_requester.entry(requester).or_default() += 1;
    }

    /// Forgets some of what is not good any more: in the second in which it expires, an Offer still is.
    pub(super) fn sweep(&mut self, now_s: i64) {
        for _ in 0..SWEEP {
            if self.expiry.first().is_none_or(|(expires_s, _)| *expires_s >= now_s) {
                return;
            }
            self.forget_soonest();
        }
    }

    fn forget_soonest(&mut self) {
        let Some((_, id)) = self.expiry.pop_first() else { return };
        let Some(requester) = self.offers.remove(&id) else { return };
        if let Some(count) = self.of_requester.get_mut(&requester) {
            *count -= 1;
            if *count == 0 {
                self.of_requester.remove(&requester);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> OfferId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        OfferId::from_bytes(bytes)
    }

    #[test]
    fn the_memory_of_offers_is_bounded_and_empties() {
        let (a, b) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mut seen = Dispatched::default();
        seen.insert(id(0), a, 1);
        for n in 1..=u32::try_from(OFFERS).unwrap_or(u32::MAX) {
            seen.insert(id(n), b, 2);
        }
        assert_eq!((seen.offers.len(), seen.expiry.len()), (OFFERS, OFFERS));
        assert!(!seen.contains(&id(0)) && seen.contains(&id(1)), "the soonest to expire goes first");
        assert_eq!(seen.count(&a), 0);
        seen.sweep(2);
        assert_eq!(seen.offers.len(), OFFERS, "they are good until the end of that second");
        for _ in 0..=OFFERS / SWEEP {
            seen.sweep(3);
        }
        assert!(seen.offers.is_empty() && seen.expiry.is_empty() && seen.of_requester.is_empty());
    }
}
