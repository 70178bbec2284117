//! The requester's machine against simulated workers with seeded faults; invariants run after every event.
//!
//! A failing seed is printed with its event log; run it alone with `EIDER_SIM_SEED=n`.
#![allow(clippy::unwrap_used, missing_docs)]

mod faults;
mod invariants;
mod workers;
mod world;

use std::collections::HashMap;

use eider_core::End;
use world::Cluster;

const SEEDS: u64 = 10_000;
/// Seeds that are cancelled after each of their events in turn.
const CANCELLED_SEEDS: u64 = 100;

#[test]
fn ten_thousand_seeds_keep_the_invariants() {
    let one = std::env::var("EIDER_SIM_SEED").ok().and_then(|s| s.parse::<u64>().ok());
    let seeds = one.map_or(0..SEEDS, |s| s..s + 1);
    let mut ends: HashMap<String, u64> = HashMap::new();
    let mut owed = 0;
    for seed in seeds {
        let mut cluster = Cluster::new(seed);
        cluster.run();
        cluster.quorum_is_in_time();
        owed += u64::from(cluster.liveness());
        let word = format!("{:?}", cluster.end.as_ref().unwrap());
        *ends.entry(word.split([' ', '(']).next().unwrap().to_string()).or_default() += 1;
    }
    println!("{ends:?}, an answer was owed in {owed}");
    // A simulation that reaches only happy ends proves little.
    if one.is_none() {
        for word in [
            "Verified",
            "JobFailed",
            "NoQuorum",
            "ExecutionsSpent",
            "NoCandidates",
            "ExceedsCapacity",
            "NoDelivery",
            "DeadlinePassed",
        ] {
            assert!(ends.contains_key(word), "no seed ended as {word}: {ends:?}");
        }
        assert!(owed > SEEDS / 4, "an answer was owed in {owed} seeds only");
    }
}

#[test]
fn a_job_can_be_cancelled_at_every_point() {
    for seed in 0..CANCELLED_SEEDS {
        for events in 0.. {
            let mut cluster = Cluster::new(seed);
            cluster.cancel_after = Some(events);
            cluster.run();
            if cluster.end != Some(End::Cancelled) {
                break;
            }
        }
    }
}
