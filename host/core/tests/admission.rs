//! What a worker promises of its donation, and what it gets back.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};

use eider_core::{Admission, Donation, Refused};
use eider_protocol::{DataClass, Decline, DeclineReason, Hash, InputsSummary, Limits, NodeId, Offer, OfferId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const NOW: i64 = 1_000_000;
/// The last second in which an Offer of [`offer`]'s is good.
const LAST: i64 = NOW + 60 + Offer::SKEW_S;
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
        task: Hash::from_bytes([0; 32]),
        draw: Hash::from_bytes([0; 32]),
        issued_at: NOW,
        valid_s: 60,
        class: DataClass::Public,
        engine: Hash::from_bytes([7; 32]),
        profile: "p".into(),
        limits: Limits { memory, result, run_ms: 1, fuel: None },
        inputs: InputsSummary { count: 0, bytes: inputs },
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
        a.admit(id(n), &offer(1, MIB, 0, 1), NOW).unwrap();
    }
    assert!(busy(a.consider(&offer(1, MIB, 0, 1), NOW)));
    assert_eq!(a.consider(&offer(2, MIB, 0, 1), NOW).unwrap().free_jobs, 1);
    assert_eq!([1, 2, 3, 4, 6, 9].map(Donation::usual_per_requester), [1, 2, 2, 3, 4, 6]);
}

#[test]
fn an_offer_is_dispatched_once_whatever_became_of_it() {
    let mut a = admission(donation());
    let job = offer(1, MIB, 0, 1);
    a.admit(id(1), &job, NOW).unwrap();
    assert_eq!(a.admit(id(1), &job, NOW), Err(Refused::Twice), "it runs");
    a.committed(&id(1), 1);
    assert_eq!(a.admit(id(1), &job, NOW), Err(Refused::Twice), "it ran");
    a.forget(&id(1));
    assert_eq!(a.admit(id(1), &job, NOW), Err(Refused::Twice), "it is over");
    assert_eq!(a.admit(id(1), &job, LAST), Err(Refused::Twice), "it is good for another second");
    assert_eq!(reason(a.admit(id(1), &job, LAST + 1)), DeclineReason::Expired);
}

#[test]
fn a_job_that_outlives_its_offer_keeps_its_id() {
    let mut a = admission(donation());
    a.admit(id(1), &offer(1, MIB, 0, 1), NOW).unwrap();
    let later = Offer { issued_at: LAST + 1, ..offer(1, MIB, 0, 1) };
    assert_eq!(a.admit(id(1), &later, LAST + 1), Err(Refused::Twice));
    assert_eq!(a.running(), 1);
}

#[test]
fn a_refused_dispatch_may_come_again() {
    let mut a = admission(donation());
    a.close(Some("paused".into()));
    assert_eq!(reason(a.admit(id(1), &offer(1, MIB, 0, 1), NOW)), DeclineReason::Unavailable);
    a.close(None);
    a.admit(id(1), &offer(1, MIB, 0, 1), NOW).unwrap();
}

#[test]
fn an_offer_that_would_have_to_be_remembered_for_long_is_refused() {
    let a = admission(donation());
    let week = Offer { valid_s: 7 * Offer::VALID_MAX_S, ..offer(1, MIB, 0, 1) };
    assert_eq!(a.consider(&week, NOW).unwrap_err().reason, DeclineReason::Expired);
}

#[test]
fn a_commit_gives_slot_and_memory_back_and_keeps_the_result() {
    let mut a = admission(Donation { jobs: 1, per_requester: 1, ..donation() });
    a.admit(id(1), &offer(1, 900 * MIB, 500, 500), NOW).unwrap();
    assert!(busy(a.consider(&offer(2, MIB, 0, 1), NOW)));
    a.committed(&id(1), 100);
    assert_eq!(a.running(), 0);
    assert!(busy(a.consider(&offer(2, MIB, 401, 500), NOW)), "its result is kept");
    a.admit(id(2), &offer(2, 900 * MIB, 400, 500), NOW).unwrap();
    a.committed(&id(2), 0);
    a.consider(&offer(2, MIB, 400, 500), NOW).unwrap();
    for _ in 0..2 {
        a.forget(&id(1));
    }
    a.consider(&offer(2, MIB, 500, 500), NOW).unwrap();
}

#[test]
fn no_requester_has_more_memory_or_disk_than_its_share_of_the_jobs() {
    let d = Donation { per_requester: 2, ..donation() };
    let cell = Admission::CELL_MEMORY;
    // A quarter of the memory each.
    let part = 256 * MIB - cell;
    let mut a = admission(d.clone());
    a.admit(id(1), &offer(1, part, 0, 1), NOW).unwrap();
    assert!(busy(a.consider(&offer(1, part + 1, 0, 1), NOW)), "with what runs, it is over a half");
    a.admit(id(2), &offer(1, part, 0, 1), NOW).unwrap();
    a.consider(&offer(2, 2 * 256 * MIB - cell, 0, 1), NOW).unwrap();
    // A quarter of the disk each, kept results counted in.
    let mut a = admission(d);
    a.admit(id(1), &offer(1, MIB, 0, 250), NOW).unwrap();
    a.committed(&id(1), 250);
    a.admit(id(2), &offer(1, MIB, 100, 150), NOW).unwrap();
    assert!(busy(a.consider(&offer(1, MIB, 0, 1), NOW)));
    a.consider(&offer(2, MIB, 200, 300), NOW).unwrap();
}

#[test]
fn a_large_job_runs_while_its_requester_runs_nothing_else_and_leaves_one_part_to_others() {
    let mut a = admission(Donation { per_requester: 1, ..donation() });
    let most = 768 * MIB - Admission::CELL_MEMORY;
    let too_large = |o: &Offer, a: &Admission| a.consider(o, NOW).unwrap_err().reason == DeclineReason::TooLarge;
    assert!(too_large(&offer(1, most + 1, 0, 1), &a) && too_large(&offer(1, MIB, 251, 500), &a));
    a.admit(id(1), &offer(1, most, 250, 500), NOW).unwrap();
    assert!(busy(a.consider(&offer(1, 0, 0, 0), NOW)));
    a.admit(id(2), &offer(2, 256 * MIB - Admission::CELL_MEMORY, 0, 250), NOW).unwrap();
    // A small one beside it: only a lone job is as large.
    let mut a = admission(Donation { per_requester: 2, ..donation() });
    a.admit(id(1), &offer(1, 0, 0, 1), NOW).unwrap();
    assert!(busy(a.consider(&offer(1, most, 0, 1), NOW)));
    a.consider(&offer(2, most, 0, 1), NOW).unwrap();
}

#[test]
fn who_may_have_all_jobs_may_have_all_memory_and_disk() {
    for (jobs, per_requester) in [(1, 1), (2, 2), (3, 3)] {
        let a = admission(Donation { jobs, per_requester, memory: 1_000 * MIB + 1, disk: 1_001, ..donation() });
        a.consider(&offer(1, 1_000 * MIB + 1 - Admission::CELL_MEMORY, 501, 500), NOW).unwrap();
    }
}

#[test]
fn a_network_has_three_quarters_of_the_jobs_and_at_least_what_one_requester_has() {
    let per_network = |jobs, per_requester| Donation { jobs, per_requester, ..donation() }.per_network();
    assert_eq!([1, 2, 3, 4, 8, 9].map(|jobs| per_network(jobs, 1)), [1, 2, 3, 3, 6, 7]);
    assert_eq!([4, 8].map(|jobs| per_network(jobs, jobs)), [4, 8]);
}

#[test]
fn inputs_take_more_of_the_disk_than_their_bytes() {
    let d = Donation { disk: 100 << 20, result: 0, ..donation() };
    let many = |count: u32, bytes| Offer { inputs: InputsSummary { count, bytes }, ..offer(1, MIB, 0, 0) };
    let most = d.disk - d.disk / 4;
    let mut a = admission(d);
    let fits = most - 1_000 * (16 << 10) - most / (MIB / 8);
    assert_eq!(a.consider(&many(1_000, fits + MIB), NOW).unwrap_err().reason, DeclineReason::TooLarge);
    assert_eq!(a.consider(&many(u32::MAX, u64::MAX), NOW).unwrap_err().reason, DeclineReason::TooLarge);
    a.admit(id(1), &many(1_000, fits), NOW).unwrap();
    assert!(busy(a.consider(&many(1, 0), NOW)), "its share is used up");
}

#[test]
fn inputs_and_result_share_one_disk() {
    let mut a = admission(donation());
    let answer = a.consider(&offer(1, MIB, 600, 500), NOW);
    assert_eq!(answer.unwrap_err().reason, DeclineReason::TooLarge);
    a.admit(id(1), &offer(1, MIB, 300, 300), NOW).unwrap();
    assert!(busy(a.consider(&offer(2, MIB, 200, 201), NOW)));
    a.consider(&offer(2, MIB, 200, 200), NOW).unwrap();
}

#[test]
fn waiting_cells_are_part_of_the_donation() {
    let a = admission(Donation { idle_memory: 512 * MIB, per_requester: 4, ..donation() });
    let fits = 512 * MIB - Admission::CELL_MEMORY;
    assert_eq!(a.consider(&offer(1, fits, 0, 1), NOW).unwrap().free_memory, 512 * MIB);
    let answer = a.consider(&offer(1, fits + 1, 0, 1), NOW);
    assert_eq!(answer.unwrap_err().reason, DeclineReason::TooLarge);
}

#[test]
fn a_requester_that_does_not_take_its_results_gets_no_more() {
    let mut a = admission(donation());
    for n in 0..u64::from(Admission::RESULTS_PER_REQUESTER) {
        a.admit(id(n), &offer(1, MIB, 0, 1), NOW).unwrap();
        // Failures, which keep nothing, count as well.
        a.committed(&id(n), n % 2);
    }
    assert!(busy(a.consider(&offer(1, MIB, 0, 1), NOW)));
    a.consider(&offer(2, MIB, 0, 1), NOW).unwrap();
    a.forget(&id(0));
    a.consider(&offer(1, MIB, 0, 1), NOW).unwrap();
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
        for r in 0..4 {
            let own = |which: fn(&Own) -> bool| self.0.values().filter(|j| j.requester == r && which(j)).count();
            assert!(own(|j| j.running) <= d.per_requester as usize, "seed {seed}: {r} runs too many");
            assert!(own(|_| true) <= Admission::RESULTS_PER_REQUESTER as usize, "seed {seed}: {r} keeps too many");
        }
        for r in 0..4 {
            let own: Vec<_> = self.0.values().filter(|j| j.requester == r).collect();
            // One part of four is left to others by three jobs as by one.
            let part = |all: u64| all - all / 4;
            assert!(own.iter().map(|j| j.memory).sum::<u64>() <= part(d.memory - d.idle_memory), "seed {seed}: memory");
            assert!(own.iter().map(|j| j.disk).sum::<u64>() <= part(d.disk), "seed {seed}: disk");
        }
        // What is free is what is not held, and a job that fits into it is taken.
        let jobs_memory = d.memory - d.idle_memory;
        let all_free = (jobs_memory - self.sum(|j| j.memory)).min(jobs_memory - jobs_memory / 4);
        if let Ok(accept) = a.consider(&offer(9, 0, 0, 0), NOW) {
            assert_eq!(
                (accept.free_memory, u64::from(accept.free_jobs)),
                (all_free, (u64::from(d.jobs) - running).min(d.per_requester.into()))
            );
            let free_disk = (d.disk - self.sum(|j| j.disk)).min(d.disk - d.disk / 4);
            a.consider(&offer(9, 0, free_disk, 0), NOW).unwrap();
            assert!(a.consider(&offer(9, 0, free_disk + 1, 0), NOW).is_err(), "seed {seed}: more disk than is free");
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
                    if a.admit(id(n), &job, NOW).is_ok() {
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
                    let kept = rng.random_range(0..500);
                    a.committed(&id(n), kept);
                    if let Some(own) = ledger.0.get_mut(&n) {
                        let result = own.result.min(kept);
                        *own = Own { running: false, memory: 0, disk: result, result, requester: own.requester };
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

#[test]
fn a_requester_whose_offers_fill_what_is_remembered_of_it_waits_until_they_expire() {
    let mut a = admission(donation());
    for n in 0..65_536 {
        a.admit(id(n), &offer(1, MIB, 0, 1), NOW).unwrap();
        a.forget(&id(n));
    }
    assert_eq!(reason(a.admit(id(65_536), &offer(1, MIB, 0, 1), NOW)), DeclineReason::Busy);
    a.admit(id(65_537), &offer(2, MIB, 0, 1), NOW).unwrap();
    let later = Offer { issued_at: LAST + 1, ..offer(1, MIB, 0, 1) };
    a.admit(id(65_536), &later, LAST + 1).unwrap();
}

#[test]
fn engines_have_memory_and_disk_that_jobs_do_not_have_meanwhile() {
    let mut a = admission(donation());
    let wants = |memory: u64| offer(1, memory, 0, 1);
    let all = a.job_memory();
    a.admit(id(1), &wants(200 * MIB), NOW).unwrap();
    assert!(!a.is_overdrawn());
    a.set_aside(all - 200 * MIB);
    assert!(a.is_overdrawn(), "the job has its cell's memory, too");
    assert!(busy(a.consider(&wants(MIB), NOW)));
    a.committed(&id(1), 0);
    assert!(!a.is_overdrawn());
    a.put_back(all - 200 * MIB);
    assert!(a.consider(&wants(MIB), NOW).is_ok());
    // Cells that wait take theirs for as long as they wait.
    a.change_idle(100 * MIB, 0);
    assert_eq!(a.job_memory(), all - 100 * MIB);
    a.change_idle(0, 100 * MIB);
    assert_eq!(a.job_memory(), all);
    // Disk that jobs hold is not given away, and what engines hold is not promised to jobs.
    a.admit(id(2), &offer(1, MIB, 0, 300), NOW).unwrap();
    assert!(!a.take_disk(u64::MAX / 2) && !a.take_disk(701) && a.take_disk(700) && !a.take_disk(1));
    assert!(busy(a.consider(&offer(2, MIB, 0, 1), NOW)));
    a.change_disk(0, 700);
    assert!(a.consider(&offer(2, MIB, 0, 1), NOW).is_ok());
    // What the worker makes of an engine can change while it runs.
    let engine = wants(MIB).engine;
    assert!(a.knows(&engine));
    a.set_engine(engine, Some(Err("taken back".into())));
    assert_eq!(a.consider(&wants(MIB), NOW).unwrap_err().reason, DeclineReason::Engine);
    assert!(a.would_run(&wants(MIB)).is_ok() && a.would_run(&wants(2 * all)).is_err());
    a.set_engine(engine, None);
    assert!(!a.knows(&engine));
}
