//! Who is late, who is replaced, who is to blame.

use crate::*;

#[test]
fn split_quorum_is_surfaced_not_resolved() {
    let mut play = Play::dispatched(Plan::new(2, 2, 600_000), 2);
    play.commit(0, 1);
    play.on(Event::Commit(
        1,
        Outcome::Failed { kind: FailureKind::Query, message: "Binder Error".into(), metering: Metering::default() },
    ));
    let Some(End::NoQuorum { split }) = play.end() else { panic!("{:?}", play.end()) };
    assert_eq!(split.len(), 2);
    assert!(play.nobody_is_at_fault());
}

#[test]
fn slowest_worker_is_reset_the_moment_quorum_is_reached() {
    let mut play = Play::dispatched(Plan::default(), 3);
    play.commit(0, 1);
    let actions = play.commit(2, 1);
    assert!(actions.contains(&Action::Reset(1, ResetCode::QuorumReached)), "{actions:?}");
    assert!(actions.contains(&Action::Verify(0)), "{actions:?}");
}

#[test]
fn a_liar_at_once_does_not_make_everybody_run() {
    let plan = Plan::default();
    let mut play = Play::dispatched(plan, 9);
    let (liar, honest) = (play.dispatched[0], play.dispatched[1..].to_vec());
    play.now = 1;
    play.commit(liar, 66);
    play.until(1_999);
    assert_eq!(play.dispatched.len(), plan.k, "a commit alone hurries nobody below the floor");
    play.until(10_000);
    assert!(play.dispatched.len() <= plan.executions, "{:?}", play.dispatched);
    // Late ones were replaced, and are still listened to.
    for p in honest {
        play.commit(p, 1);
    }
    assert!(matches!(play.state(liar), PeerState::Closed(Closed::Reset(ResetCode::Dissent))));
    assert!(play.actions.iter().any(|a| matches!(a, Action::Verify(_))));
}

#[test]
fn late_workers_are_replaced_up_to_a_quorum_and_patience_doubles() {
    let plan = Plan { executions: 9, ..Plan::new(3, 2, 600_000) };
    let mut play = Play::dispatched(plan, 9);
    play.commit(play.dispatched[0], 1);
    let mut counts = vec![];
    for end in [1_999, 2_000, 5_999, 6_000, 13_999, 14_000] {
        play.until(end);
        counts.push(play.dispatched.len());
    }
    assert_eq!(counts, [3, 4, 4, 5, 5, 6]);
    assert!(play.nobody_is_at_fault());
}

#[test]
fn two_that_agree_set_the_pace_of_a_larger_quorum() {
    let mut play = Play::dispatched(Plan::new(4, 3, 600_000), 9);
    play.now = 3_000;
    play.commit(play.dispatched[0], 1);
    play.now = 4_000;
    play.commit(play.dispatched[1], 1);
    let before = play.dispatched.len();
    play.until(8_499);
    assert_eq!(play.dispatched.len(), before);
    play.until(8_500);
    assert_eq!(play.dispatched.len(), before + 1, "twice 4,000 ms and 500 ms are over");
}

#[test]
fn busy_workers_are_believed_for_the_hedge_while_nobody_commits() {
    let plan = Plan { hedge_ms: 7_000, ..Plan::default() };
    let mut play = Play::dispatched(plan, 9);
    play.until(6_999);
    assert_eq!(play.dispatched.len(), 3);
    play.until(7_000);
    assert_eq!(play.dispatched.len(), 5, "a whole quorum is sought without them");
    play.until(600_000);
    assert_eq!(play.dispatched.len(), plan.executions);
    assert!(matches!(play.end(), Some(End::DeadlinePassed { .. })));
    assert!(play.nobody_is_at_fault());
}

#[test]
fn the_budget_ends_a_job_that_candidates_could_go_on_with() {
    let plan = Plan { executions: 4, ..Plan::new(2, 2, 600_000) };
    let mut play = Play::dispatched(plan, 9);
    for root in 1..=4 {
        play.commit(play.running()[0], root);
    }
    assert_eq!(play.dispatched.len(), 4);
    let Some(End::ExecutionsSpent { split }) = play.end() else { panic!("{:?}", play.end()) };
    assert_eq!(split.len(), 4);
    assert!(play.nobody_is_at_fault(), "without a quorum nobody dissents");
}

#[test]
fn a_stalled_worker_is_replaced_and_not_at_fault() {
    let plan = Plan::default();
    let mut play = Play::dispatched(plan, 4);
    let stalled = play.dispatched[0];
    play.now = plan.stall_ms - 1;
    for p in play.running().into_iter().filter(|p| *p != stalled) {
        play.on(Event::Progress(p));
    }
    play.now = plan.stall_ms;
    let actions = play.on(Event::Tick);
    assert_eq!(actions[0], Action::Reset(stalled, ResetCode::Stalled));
    assert!(matches!(actions[1], Action::Dispatch { .. }));
    assert!(play.nobody_is_at_fault());
}

#[test]
fn a_commit_repeated_is_out_of_order() {
    let mut play = Play::dispatched(Plan::default(), 3);
    play.commit(0, 1);
    assert_eq!(play.commit(0, 1), [Action::Reset(0, ResetCode::Unexpected)]);
    assert!(play.state(0).fault().is_some());
}

#[test]
fn what_a_later_version_sends_blames_nobody_and_keeps_its_vote() {
    let mut play = Play::dispatched(Plan::default(), 3);
    play.commit(0, 1);
    play.on(Event::Lost(0, LostWhy::Misbehaved(ResetCode::Incompatible, "an unknown kind".into())));
    assert!(play.state(0).fault().is_none());
    assert!(play.commit(1, 1).contains(&Action::Verify(1)));
}

#[test]
fn a_lost_worker_whose_commit_stands_gets_nothing_sent() {
    let mut play = Play::dispatched(Plan::default(), 3);
    play.commit(0, 2);
    play.on(Event::Lost(0, LostWhy::Disconnected("gone".into())));
    play.commit(1, 1);
    play.commit(2, 1);
    assert_eq!(*play.state(0), PeerState::Closed(Closed::Reset(ResetCode::Dissent)));
    assert!(!play.actions.iter().any(|a| matches!(a, Action::Reset(0, _))));
}

#[test]
fn a_dispatch_that_was_refused_costs_no_execution() {
    let plan = Plan { executions: 3, ..Plan::default() };
    let mut play = Play::dispatched(plan, 3);
    for _ in 0..6 {
        let p = play.dispatched[play.dispatched.len() - 1];
        play.on(Event::Lost(p, LostWhy::ResetByWorker(ResetCode::OverCapacity)));
        let at = play.now + 2_000;
        play.until(at);
        assert!(play.end().is_none(), "{:?}", play.end());
        play.on(Event::Bid(p, Ok(accept(0, 1))));
    }
    assert_eq!((play.dispatched.len(), play.running().len()), (9, 3));
}
