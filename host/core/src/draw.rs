//! Who gets a seat: a random draw by weight that an auditor can repeat.
//!
//! What enters is the job's seed, the number of the seat, and who held an acceptable bid with which weight. The weights
//! are the requester's own ([`weights`]). Nothing that a bidder says enters, so no claim improves its chance. The seed is secret until
//! all bids are in; afterwards anybody who has the seed and the record of bids comes to the same seats.

use std::collections::HashMap;

use eider_protocol::NodeId;

const DOMAIN: &[u8] = b"eider/2 draw\0";
/// Weight of a bidder that shares its network with no other.
const WEIGHT: u64 = 1_000_000;

/// Where a bidder is, as its requester sees it, and not as anybody says: a number for each network that a stranger can own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(pub u32);

/// What each bidder weighs, who was met in these networks. Bidders of one network share one weight: whoever runs many workers in
/// one place is chosen no more often for it. A node that was met in several, be it that a stranger passes datagrams on to it,
/// weighs what the best of them gives it.
pub fn weights<'a>(met: impl Iterator<Item = &'a [Network]> + Clone) -> Vec<u64> {
    let mut members: HashMap<Network, u64> = HashMap::new();
    for network in met.clone().flatten() {
        *members.entry(*network).or_default() += 1;
    }
    met.map(|networks| networks.iter().map(|n| (WEIGHT / members[n]).max(1)).max().unwrap_or(1)).collect()
}

/// The bidder that gets the `n`-th seat of the job with this seed, as an index into `held` (node, weight); none if nobody
/// holds a bid. Bidders stand in order of their ids, each as wide as its weight, and BLAKE3 of domain, seed and `n` (big
/// endian) points at one. The nodes are distinct, so the order of `held` does not matter. A weight of zero is never
/// chosen, unless all are zero: then all count alike.
pub fn seat(seed: &[u8; 32], n: u32, held: &[(NodeId, u64)]) -> Option<usize> {
    let alike = held.iter().all(|(_, weight)| *weight == 0);
    let weight = |i: usize| if alike { 1 } else { u128::from(held[i].1) };
    let total: u128 = (0..held.len()).map(weight).sum();
    if total == 0 {
        return None;
    }
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_unstable_by_key(|i| held[*i].0);
    let mut point = point(seed, n, total);
    order.into_iter().find(|i| {
        let here = point < weight(*i);
        point = point.saturating_sub(weight(*i));
        here
    })
}

/// All 256 bits of the hash, big endian, modulo `total`: with a total below 2^96 the bias is less than 2^-160.
fn point(seed: &[u8; 32], n: u32, total: u128) -> u128 {
    let mut h = blake3::Hasher::new();
    h.update(DOMAIN).update(seed).update(&n.to_be_bytes());
    h.finalize().as_bytes().iter().fold(0, |rest, byte| ((rest << 8) | u128::from(*byte)) % total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn bidders(weights: &[u64]) -> Vec<(NodeId, u64)> {
        weights.iter().enumerate().map(|(i, w)| (NodeId::from_bytes([i as u8; 32]), *w)).collect()
    }

    /// How often each bidder got a seat in so many draws.
    fn drawn(weights: &[u64], draws: u32) -> Vec<u32> {
        let held = bidders(weights);
        let mut counts = vec![0; held.len()];
        for n in 0..draws {
            counts[seat(&[7; 32], n, &held).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..2_000 {
            let weights: Vec<u64> = (0..rng.random_range(1..20)).map(|_| rng.random_range(0..5)).collect();
            let mut held = bidders(&weights);
            let (seed, n) = (rng.random(), rng.random());
            let node = held[seat(&seed, n, &held).unwrap()].0;
            held.shuffle(&mut rng);
            assert_eq!(held[seat(&seed, n, &held).unwrap()].0, node);
        }
    }

    #[test]
    fn equal_weights_are_drawn_alike() {
        for weight in [0, 1, u64::MAX] {
            for count in drawn(&[weight; 7], 70_000) {
                assert!((9_600..10_400).contains(&count), "{count} of 10,000");
            }
        }
    }

    #[test]
    fn chances_are_in_proportion_to_weights() {
        let counts = drawn(&[1, 2, 0, 7], 100_000);
        for (count, expected) in counts.iter().zip([10_000u32, 20_000, 0, 70_000]) {
            assert!(count.abs_diff(expected) <= 600, "{counts:?}");
        }
        assert_eq!(counts[2], 0, "a weight of zero was chosen");
    }

    #[test]
    fn seats_and_jobs_are_drawn_independently() {
        let held = bidders(&[1; 4]);
        let mut pairs = [[0u32; 4]; 4];
        for job in 0..16_000u32 {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&job.to_be_bytes());
            pairs[seat(&seed, 0, &held).unwrap()][seat(&seed, 1, &held).unwrap()] += 1;
        }
        assert!(pairs.as_flattened().iter().all(|c| (850..1_150).contains(c)), "{pairs:?}");
    }

    /// [P-OFFER-3]
    #[test]
    fn many_bidders_of_one_network_weigh_as_much_as_one_elsewhere() {
        let w = WEIGHT;
        let of = |met: &[&[u32]]| {
            let met: Vec<Vec<Network>> = met.iter().map(|m| m.iter().copied().map(Network).collect()).collect();
            weights(met.iter().map(Vec::as_slice))
        };
        assert_eq!(
            of(&[&[0], &[0], &[0], &[0], &[1], &[2], &[3], &[3]]),
            [w / 4, w / 4, w / 4, w / 4, w, w, w / 2, w / 2]
        );
        // A stranger in network 9 relays two of three honest workers, and has two of its own in networks of theirs.
        assert_eq!(of(&[&[9, 0], &[9, 1], &[2], &[3], &[4]]), [w; 5]);
        assert_eq!(of(&[&[9], &[9, 1]]), [w / 2, w]);
    }

    #[test]
    fn nobody_gets_the_seat_when_nobody_bids() {
        assert_eq!(seat(&[0; 32], 0, &[]), None);
    }

    /// Auditors of other programs come to the same seats.
    #[test]
    fn a_draw_is_a_fixed_function_of_its_inputs() {
        let held = bidders(&[1, 2, 3, 4, 5, u64::MAX]);
        let seats: Vec<_> = (0..8).map(|n| seat(&[1; 32], n, &held[..5]).unwrap()).collect();
        assert_eq!(seats, [1, 3, 3, 4, 4, 3, 4, 4]);
        assert_eq!(seat(&[1; 32], 0, &held), Some(5));
    }
}
