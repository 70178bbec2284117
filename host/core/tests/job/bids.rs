//! Who gets a seat.

use eider_protocol::{Decline, DeclineReason};

use crate::*;

#[test]
fn colluders_do_not_choose_themselves() {
    const JOBS: u32 = 6_000;
    let (mut seats, mut whole) = (0, 0);
    for job in 0..JOBS {
        let mut seed = [9; 32];
        seed[..4].copy_from_slice(&job.to_be_bytes());
        let mut play = Play::seeded(Plan::default(), 9, seed);
        for p in (6..9).chain(0..6) {
            play.on(Event::Bid(p, Ok(if p >= 6 { accept(0, 1 << 50) } else { accept(900, 1) })));
        }
        let own = play.dispatched.iter().filter(|p| **p >= 6).count();
        seats += own;
        whole += usize::from(own == 3);
    }
    // Three of nine: a third of the seats, and every 84th job whole.
    let expected = JOBS as usize;
    assert!(seats.abs_diff(expected) < expected / 20, "{seats} of {} seats", expected * 3);
    assert!(whole.abs_diff(expected / 84) < 30, "{whole} of {expected} jobs");
}

#[test]
fn who_cannot_start_before_the_deadline_is_not_held() {
    let mut play = Play::new(Plan::default(), 3);
    let actions = play.on(Event::Bid(0, Ok(accept(u64::MAX, 1))));
    assert_eq!(actions, [Action::Reset(0, ResetCode::NotChosen)]);
    assert_eq!(*play.state(0), PeerState::Closed(Closed::TooLate(u64::MAX)));
    assert!(play.nobody_is_at_fault());
}

#[test]
fn silent_candidates_are_not_waited_for_and_late_bids_fill_open_seats() {
    let plan = Plan::default();
    let mut play = Play::new(plan, 4);
    play.on(Event::Bid(0, Ok(accept(0, 1))));
    play.on(Event::Bid(1, Ok(accept(0, 1))));
    play.until(plan.bid_grace_ms - 1);
    assert!(play.dispatched.is_empty());
    play.until(plan.bid_grace_ms);
    assert_eq!(play.dispatched.len(), 2);
    assert_eq!(
        play.on(Event::Bid(2, Ok(accept(0, 1)))),
        [Action::Dispatch { peer: 2, seat: 2, among: vec![(2, 1_000_000)] }]
    );
    assert_eq!(play.on(Event::Bid(3, Ok(accept(0, 1)))), [], "k run");
}

#[test]
fn seats_can_be_drawn_again_from_the_record() {
    let networks = [0, 1, 0, 2, 2, 2];
    let (seed, plan) = ([42; 32], Plan::new(5, 3, 600_000));
    let mut job = Job::new(plan, networks.len(), seed, 0).unwrap();
    for (p, network) in networks.into_iter().enumerate() {
        job.handle(0, Event::Connected(p, node(p), Network(network)));
    }
    for p in (0..networks.len()).rev() {
        job.handle(1, Event::Bid(p, Ok(accept(0, 1))));
    }
    let mut seats = HashSet::new();
    while let Some(action) = job.poll_action() {
        let Action::Dispatch { peer, seat, among } = action else { continue };
        let held: Vec<_> = among.iter().map(|(p, weight)| (node(*p), *weight)).collect();
        assert_eq!(among[eider_core::seat(&seed, seat, &held).unwrap()].0, peer);
        if seat == 0 {
            assert_eq!(among.iter().map(|(_, w)| w).sum::<u64>(), 2 * 500_000 + 1_000_000 + 3 * 333_333);
        }
        seats.insert(peer);
    }
    assert_eq!(seats.len(), 5);
}

#[test]
fn impossible_plans_are_refused() {
    let check = |plan: Plan| plan.check().unwrap_err();
    assert_eq!(check(Plan { quorum: 0, ..Plan::default() }), PlanError::Quorum { quorum: 0, k: 3 });
    assert_eq!(check(Plan::new(4, 2, 1)), PlanError::NoMajority { quorum: 2, k: 4 });
    for executions in 0..3 {
        assert_eq!(check(Plan { executions, ..Plan::default() }), PlanError::Executions { executions, k: 3 });
    }
    assert_eq!(Plan::new(5, 3, 80_000).executions, 8);
    assert_eq!(Plan::new(5, 3, 80_000).hedge_ms, 10_000);
}

fn busy() -> Result<Accept, Decline> {
    Err(Decline { reason: DeclineReason::Busy, detail: "two jobs run".into() })
}

#[test]
fn busy_candidates_are_asked_again_while_too_few_are_free() {
    let plan = Plan::default();
    let mut play = Play::new(plan, 3);
    play.on(Event::Bid(0, Ok(accept(0, 1))));
    assert_eq!(play.on(Event::Bid(1, busy())), []);
    assert_eq!(play.on(Event::Bid(2, busy())), []);
    assert!(play.dispatched.is_empty() && !play.job.is_ended());
    play.until(100);
    assert_eq!(*play.state(1), PeerState::ExpectBid, "it was not asked again");
    play.on(Event::Bid(1, Ok(accept(0, 1))));
    play.until(plan.bid_grace_ms);
    assert_eq!(play.dispatched.len(), 2);
}

#[test]
fn nobody_waits_for_a_busy_candidate_beside_a_quorum_nor_for_ever() {
    let mut play = Play::new(Plan::default(), 3);
    play.on(Event::Bid(0, busy()));
    play.on(Event::Bid(1, Ok(accept(0, 1))));
    play.on(Event::Bid(2, Ok(accept(0, 1))));
    assert_eq!(play.dispatched.len(), 2, "two of three are free, and that is the quorum");

    let plan = Plan::default();
    let mut play = Play::new(plan, 2);
    let mut asked = 0;
    play.on(Event::Bid(0, busy()));
    play.on(Event::Bid(1, busy()));
    while !play.job.is_ended() {
        play.until(play.job.next_timeout().unwrap());
        for p in 0..2 {
            if *play.state(p) == PeerState::ExpectBid {
                asked += 1;
                play.on(Event::Bid(p, busy()));
            }
        }
    }
    assert!(asked > 10 && asked < 60, "{asked}");
    assert!(matches!(play.state(0), PeerState::Closed(Closed::Declined(_))), "{:?}", play.state(0));
}

#[test]
fn a_worker_whose_place_was_taken_meanwhile_is_asked_again() {
    let mut play = Play::dispatched(Plan::default(), 3);
    let p = play.dispatched[0];
    play.on(Event::Lost(p, LostWhy::ResetByWorker(ResetCode::OverCapacity)));
    assert!(matches!(play.state(p), PeerState::Busy { .. }), "{:?}", play.state(p));
    play.until(200);
    assert_eq!(*play.state(p), PeerState::ExpectBid);
    play.on(Event::Bid(p, Ok(accept(0, 1))));
    assert!(matches!(play.state(p), PeerState::ExpectCommit { .. }), "{:?}", play.state(p));
}
