//! Deliveries, and quorums that are lost.

use crate::*;

#[test]
fn a_slow_deliverer_waits_for_its_next_turn_without_blame() {
    let mut play = Play::dispatched(Plan::default(), 3);
    play.commit(0, 1);
    assert!(play.commit(1, 1).contains(&Action::Verify(0)));
    assert_eq!(play.on(Event::DeliveryFailed(0, DeliveryFailure::Slow)), [Action::Verify(1)]);
    assert!(matches!(play.state(0), PeerState::Committed { gone: false, .. }));
    assert_eq!(play.on(Event::DeliveryFailed(1, DeliveryFailure::Slow)), [Action::Verify(0)]);
    play.on(Event::Lost(1, LostWhy::Disconnected("gone".into())));
    assert_eq!(play.on(Event::DeliveryFailed(0, DeliveryFailure::Slow)), [Action::Verify(0)], "it is the only one");
    play.on(Event::Delivered(0));
    assert_eq!(*play.state(0), PeerState::Closed(Closed::Settled(Verdict::Delivered)));
    assert!(matches!(play.end(), Some(End::Verified { .. })));
    assert!(play.nobody_is_at_fault());
}

#[test]
fn only_wrong_bytes_are_blamed_on_a_deliverer() {
    let mut play = Play::dispatched(Plan::new(3, 3, 600_000), 3);
    for p in 0..3 {
        play.commit(p, 1);
    }
    assert_eq!(play.on(Event::DeliveryFailed(0, DeliveryFailure::Broken)), [Action::Verify(1)]);
    let actions = play.on(Event::DeliveryFailed(1, DeliveryFailure::WrongBytes));
    assert_eq!(actions, [Action::Reset(1, ResetCode::WrongBytes), Action::Verify(2)]);
    let faults: Vec<_> = play.job.peers().iter().map(|s| s.fault().is_some()).collect();
    assert_eq!(faults, [false, true, false]);
}

#[test]
fn equivocation_after_quorum_voids_it_until_a_spare_agrees() {
    let mut play = Play::dispatched(Plan::default(), 9);
    let (a, b) = (play.dispatched[0], play.dispatched[1]);
    play.commit(a, 1);
    assert!(play.commit(b, 1).contains(&Action::Verify(a)));
    let actions = play.commit(b, 2);
    let spare = *play.dispatched.last().unwrap();
    let [Action::Reset(reset, ResetCode::Equivocation), Action::Dispatch { peer, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((*reset, *peer), (b, spare));
    assert_eq!(play.on(Event::Delivered(a)), [], "its bytes are not vouched for");
    let actions = play.commit(spare, 1);
    assert_eq!(actions, [Action::Verify(a)], "nothing is left to send, which the shell knows");
    play.on(Event::Delivered(a));
    let Some(End::Verified { agreed, .. }) = play.end() else { panic!("{:?}", play.end()) };
    assert_eq!(*agreed, [a, spare]);
    let split = play.job.split();
    assert!(split.iter().all(|(_, peers)| peers.contains(&b)), "both of its commits are on record: {split:?}");
}

#[test]
fn a_deliverer_that_equivocates_is_cut_off_and_another_goes_on() {
    let mut play = Play::dispatched(Plan::new(3, 2, 600_000), 3);
    play.commit(0, 1);
    play.commit(1, 1);
    let actions = play.commit(0, 2);
    assert_eq!(actions[0], Action::Reset(0, ResetCode::Equivocation));
    assert!(matches!(play.end(), Some(End::NoQuorum { .. })), "no spare is left");
}

#[test]
fn another_outcome_is_not_delivered_after_bytes_of_the_first() {
    let mut play = Play::dispatched(Plan::new(3, 2, 600_000), 9);
    let [a, b, c] = play.dispatched[..] else { panic!() };
    play.commit(c, 2);
    play.commit(a, 1);
    play.commit(b, 1);
    assert!(play.state(c).fault().is_some(), "it dissents from a quorum");
    play.commit(b, 3);
    assert!(play.state(c).fault().is_none(), "the quorum that it dissented from is none");
    let spare = *play.dispatched.last().unwrap();
    play.commit(spare, 2);
    let Some(End::NoQuorum { split }) = play.end() else { panic!("{:?}", play.end()) };
    assert_eq!(split.len(), 3);
    assert_eq!((0..9).filter(|p| play.state(*p).fault().is_some()).collect::<Vec<_>>(), [b]);
}

#[test]
fn dissent_is_blamed_again_when_the_quorum_is_back() {
    let mut play = Play::dispatched(Plan::new(3, 2, 600_000), 9);
    let [a, b, c] = play.dispatched[..] else { panic!() };
    play.commit(c, 2);
    play.commit(a, 1);
    play.commit(b, 1);
    play.commit(b, 3);
    let spare = *play.dispatched.last().unwrap();
    play.commit(spare, 1);
    assert!(play.state(c).fault().is_some());
}

#[test]
fn the_next_deliverer_runs_within_the_budget() {
    let plan = Plan { executions: 3, ..Plan::new(2, 2, 600_000) };
    let mut play = Play::dispatched(plan, 9);
    for p in play.dispatched.clone() {
        play.commit(p, 1);
        play.on(Event::Lost(p, LostWhy::Disconnected("gone".into())));
    }
    assert_eq!(play.dispatched.len(), 3);
    play.on(Event::Lost(play.dispatched[2], LostWhy::Disconnected("gone".into())));
    assert!(matches!(play.end(), Some(End::NoDelivery { .. })));
}

#[test]
fn who_runs_to_deliver_is_believed_for_patience_too() {
    let mut play = Play::dispatched(Plan::new(2, 2, 600_000), 9);
    play.now = 1_000;
    for p in play.dispatched.clone() {
        play.commit(p, 1);
        play.on(Event::Lost(p, LostWhy::Disconnected("gone".into())));
    }
    assert_eq!(play.dispatched.len(), 3);
    play.until(3_499);
    assert_eq!(play.dispatched.len(), 3);
    play.until(3_500);
    assert_eq!(play.dispatched.len(), 4, "twice 1,000 ms and 500 ms are over");
    let actions = play.commit(play.dispatched[3], 1);
    assert_eq!(actions, [Action::Verify(play.dispatched[3])]);
}

#[test]
fn a_deliverer_is_believed_for_a_while_and_then_another_is_asked_too() {
    let plan = Plan::new(3, 3, 600_000);
    let mut play = Play::dispatched(plan, 3);
    let all = play.running();
    for p in &all {
        play.commit(*p, 1);
    }
    let delivering =
        |play: &Play| all.iter().filter(|p| matches!(play.state(**p), PeerState::ExpectResult { .. })).count();
    assert_eq!(delivering(&play), 1);
    play.until(plan.stall_ms - 1);
    assert_eq!(delivering(&play), 1);
    play.until(plan.stall_ms);
    assert_eq!(delivering(&play), 2);
    play.until(3 * plan.stall_ms);
    assert_eq!(delivering(&play), 3, "patience doubles");
    let last = *all.iter().find(|p| play.actions.last() == Some(&Action::Verify(**p))).unwrap();
    play.on(Event::Delivered(last));
    let Some(End::Verified { deliverer, .. }) = play.end() else { panic!("{:?}", play.end()) };
    assert_eq!(*deliverer, last);
    for p in all {
        let verdict = if p == last { Verdict::Delivered } else { Verdict::Agreed };
        assert_eq!(*play.state(p), PeerState::Closed(Closed::Settled(verdict)));
    }
}
