//! What a worker promises of its donation, and what it gets back.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};

use eider_core::{Admission, Donation, Refused};
use eider_protocol::{DataClass, Decline, DeclineReason, Hash, InputsSummary, Limits, NodeId, Offer, OfferId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const NOW: i64 = 1_000_000;
const EXPIRES: i64 = NOW + 600;
const MIB: u64 = 1 << 20;

fn donation() -> Donation {
    Donation {
        memory: 1_024 * MIB,
        idle_memory: 0,
        jobs: 4,
        per_requester: Donation::usual_per_requester(4),
        disk: 1_000,
        result: 500,
        run_ms: 1_000,
        classes: vec![DataClass::Public],
        price: 0,
    }
}

fn admission(donation: Donation) -> Admission {
    Admission::new(donation, BTreeMap::from([(Hash::from_bytes([7; 32]), Ok(vec!["p".into()]))]))
}

fn requester(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn id(n: u64) -> OfferId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    OfferId::from_bytes(bytes)
}

fn offer(from: u8, memory: u64, inputs: u64, result: u64) -> Offer {
    Offer {
        requester: requester(from),
        query: Hash::from_bytes([0; 32]),
        class: DataClass::Public,
        engine: Hash::from_bytes([7; 32]),
        profile: "p".into(),
        limits: Limits { memory, result, run_ms: 1, fuel: None },
        inputs: InputsSummary { count: 1, bytes: inputs },
        attest: None,
        nonce: [0; 32],
    }
}

fn reason(refused: Result<(), Refused>) -> DeclineReason {
    match refused {
        Err(Refused::Decline(decline)) => decline.reason,
        other => panic!("{other:?}"),
    }
}

fn busy<T: std::fmt::Debug>(answer: Result<T, Decline>) -> bool {
    matches!(answer, Err(Decline { reason: DeclineReason::Busy, .. }))
}

#[test]
fn one_requester_leaves_room_for_another() {
    let mut a = admission(donation());
    for n in 0..3 {
        a.admit(id(n), &offer(1, MIB, 0, 1), EXPIRES, NOW).unwrap();
    }
    assert!(busy(a.consider(&offer(1, MIB, 0, 1), EXPIRES, NOW)));
    assert_eq!(a.consider(&offer(2, MIB, 0, 1), EXPIRES, NOW).unwrap().free_jobs, 1);
    assert_eq!([1, 2, 3, 4, 6, 9].map(Donation::usual_per_requester), [1, 2, 2, 3, 4, 6]);
}

#[test]
fn an_offer_is_dispatched_once_whatever_became_of_it() {
    let mut a = admission(donation());
    let job = offer(1, MIB, 0, 1);
    a.admit(id(1), &job, EXPIRES, NOW).unwrap();
    assert_eq!(a.admit(id(1), &job, EXPIRES, NOW), Err(Refused::Twice), "it runs");
    a.committed(&id(1), Some(1));
    assert_eq!(a.admit(id(1), &job, EXPIRES, NOW), Err(Refused::Twice), "it ran");
    a.forget(&id(1));
    assert_eq!(a.admit(id(1), &job, EXPIRES, NOW), Err(Refused::Twice), "it is over");
    assert_eq!(reason(a.admit(id(1), &job, EXPIRES, EXPIRES)), DeclineReason::Unavailable, "it has expired");
}

#[test]
fn a_job_that_outlives_its_offer_keeps_its_id() {
    let mut a = admission(donation());
    a.admit(id(1), &offer(1, MIB, 0, 1), EXPIRES, NOW).unwrap();
    assert_eq!(a.admit(id(1), &offer(1, MIB, 0, 1), EXPIRES + 600, EXPIRES), Err(Refused::Twice));
    assert_eq!(a.running(), 1);
}

#[test]
fn a_refused_dispatch_may_come_again() {
    let mut a = admission(donation());
    a.close(Some("paused".into()));
    assert_eq!(reason(a.admit(id(1), &offer(1, MIB, 0, 1), EXPIRES, NOW)), DeclineReason::Unavailable);
    a.close(None);
    a.admit(id(1), &offer(1, MIB, 0, 1), EXPIRES, NOW).unwrap();
}

#[test]
fn an_offer_that_would_have_to_be_remembered_for_long_is_refused() {
    let a = admission(donation());
    let answer = a.consider(&offer(1, MIB, 0, 1), i64::MAX, NOW);
    assert_eq!(answer.unwrap_err().reason, DeclineReason::TooLarge);
}

#[test]
fn a_commit_gives_slot_and_memory_back_and_keeps_the_result() {
    let mut a = admission(Donation { jobs: 1, ..donation() });
    a.admit(id(1), &offer(1, 900 * MIB, 500, 500), EXPIRES, NOW).unwrap();
    assert!(busy(a.consider(&offer(2, MIB, 0, 1), EXPIRES, NOW)));
    assert_eq!(a.disk_for_cache(), 500);
    a.committed(&id(1), Some(100));
    assert_eq!((a.running(), a.disk_for_cache()), (0, 900));
    a.admit(id(2), &offer(2, 900 * MIB, 400, 500), EXPIRES, NOW).unwrap();
    a.committed(&id(2), None);
    assert_eq!(a.disk_for_cache(), 900, "there was nothing to keep");
    for _ in 0..2 {
        a.forget(&id(1));
    }
    assert_eq!(a.disk_for_cache(), 1_000);
}

#[test]
fn inputs_and_result_share_one_disk() {
    let mut a = admission(donation());
    let answer = a.consider(&offer(1, MIB, 600, 500), EXPIRES, NOW);
    assert_eq!(answer.unwrap_err().reason, DeclineReason::TooLarge);
    a.admit(id(1), &offer(1, MIB, 300, 300), EXPIRES, NOW).unwrap();
    assert!(busy(a.consider(&offer(2, MIB, 200, 201), EXPIRES, NOW)));
    a.consider(&offer(2, MIB, 200, 200), EXPIRES, NOW).unwrap();
}

#[test]
fn waiting_cells_are_part_of_the_donation() {
    let a = admission(Donation { idle_memory: 512 * MIB, ..donation() });
    let fits = 512 * MIB - Admission::CELL_MEMORY;
    assert_eq!(a.consider(&offer(1, fits, 0, 1), EXPIRES, NOW).unwrap().free_memory, 512 * MIB);
    let answer = a.consider(&offer(1, fits + 1, 0, 1), EXPIRES, NOW);
    assert_eq!(answer.unwrap_err().reason, DeclineReason::TooLarge);
}

#[test]
fn a_requester_that_does_not_take_its_results_gets_no_more() {
    let mut a = admission(donation());
    for n in 0..u64::from(Admission::RESULTS_PER_REQUESTER) {
        a.admit(id(n), &offer(1, MIB, 0, 1), EXPIRES, NOW).unwrap();
        a.committed(&id(n), Some(1));
    }
    assert!(busy(a.consider(&offer(1, MIB, 0, 1), EXPIRES, NOW)));
    a.consider(&offer(2, MIB, 0, 1), EXPIRES, NOW).unwrap();
    a.forget(&id(0));
    a.consider(&offer(1, MIB, 0, 1), EXPIRES, NOW).unwrap();
}

#[test]
fn bids_that_wait_are_counted_by_requester_and_in_all() {
    let mut a = admission(donation());
    for r in 0..64u8 {
        for _ in 0..Admission::BIDS_PER_REQUESTER {
            a.hold(requester(r)).unwrap();
        }
        assert!(busy(a.hold(requester(r))));
    }
    assert!(busy(a.hold(requester(200))), "those of all are used up");
    a.unhold(&requester(0));
    a.hold(requester(200)).unwrap();
    // Given back more often than held, it stays at nothing.
    for _ in 0..3 {
        a.unhold(&requester(200));
    }
    a.hold(requester(200)).unwrap();
    assert!(busy(a.hold(requester(201))));
}

/// A job as the test counts it.
struct Own {
    requester: u8,
    running: bool,
    memory: u64,
    disk: u64,
    result: u64,
}

/// All that the admission should hold, counted anew.
struct Ledger(HashMap<u64, Own>);

impl Ledger {
    fn sum(&self, of: impl Fn(&Own) -> u64) -> u64 {
        self.0.values().map(of).sum()
    }

    fn check(&self, a: &Admission, d: &Donation, seed: u64) {
        let running = self.sum(|j| u64::from(j.running));
        assert_eq!(a.running() as u64, running, "seed {seed}");
        assert!(running <= d.jobs.into(), "seed {seed}: too many jobs");
        assert!(self.sum(|j| j.memory) <= d.memory - d.idle_memory, "seed {seed}: too much memory");
        assert!(self.sum(|j| j.disk) <= d.disk, "seed {seed}: too much disk");
        assert_eq!(a.disk_for_cache(), d.disk - self.sum(|j| j.result), "seed {seed}");
        for r in 0..4 {
            let own = |which: fn(&Own) -> bool| self.0.values().filter(|j| j.requester == r && which(j)).count();
            assert!(own(|j| j.running) <= d.per_requester as usize, "seed {seed}: {r} runs too many");
            assert!(own(|_| true) <= Admission::RESULTS_PER_REQUESTER as usize, "seed {seed}: {r} keeps too many");
        }
        // What is free is what is not held, and a job that fits into it is taken.
        let all_free = d.memory - d.idle_memory - self.sum(|j| j.memory);
        if let Ok(accept) = a.consider(&offer(9, 0, 0, 0), EXPIRES, NOW) {
            assert_eq!(
                (accept.free_memory, u64::from(accept.free_jobs)),
                (all_free, (u64::from(d.jobs) - running).min(d.per_requester.into()))
            );
        } else {
            assert!(
                running == u64::from(d.jobs) || all_free < Admission::CELL_MEMORY,
                "seed {seed}: refused for nothing"
            );
        }
    }
}

#[test]
fn what_is_held_is_what_was_admitted_and_not_given_back() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let d = Donation { idle_memory: rng.random_range(0..512) * MIB, ..donation() };
        let mut a = admission(d.clone());
        let mut ledger = Ledger(HashMap::new());
        for _ in 0..300 {
            let n = rng.random_range(0..80);
            match rng.random_range(0..4) {
                0 | 1 => {
                    let from = rng.random_range(0..4);
                    let job =
                        offer(from, rng.random_range(0..400) * MIB, rng.random_range(0..400), rng.random_range(0..400));
                    if a.admit(id(n), &job, EXPIRES, NOW).is_ok() {
                        let own = Own {
                            requester: from,
                            running: true,
                            memory: job.limits.memory + Admission::CELL_MEMORY,
                            disk: job.inputs.bytes + job.limits.result,
                            result: job.limits.result,
                        };
                        assert!(ledger.0.insert(n, own).is_none(), "seed {seed}: admitted twice");
                    }
                }
                2 => {
                    let kept = rng.random_bool(0.8).then(|| rng.random_range(0..500));
                    a.committed(&id(n), kept);
                    match (ledger.0.get_mut(&n), kept) {
                        (Some(own), Some(bytes)) => {
                            let result = own.result.min(bytes);
                            *own = Own { running: false, memory: 0, disk: result, result, requester: own.requester };
                        }
                        _ if kept.is_none() => {
                            ledger.0.remove(&n);
                        }
                        _ => {}
                    }
                }
                _ => {
                    a.forget(&id(n));
                    ledger.0.remove(&n);
                }
            }
            ledger.check(&a, &d, seed);
        }
        for n in 0..80 {
            a.forget(&id(n));
        }
        Ledger(HashMap::new()).check(&a, &d, seed);
    }
}
