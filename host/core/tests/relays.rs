//! What a stranger gets who answers with an honest worker's key: it passes datagrams on, which nobody can see.
#![allow(clippy::unwrap_used, missing_docs)]

use eider_core::{Action, Event, Job, LostWhy, Network, Plan};
use eider_protocol::{Accept, Decline, NodeId};

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn yes() -> Result<Accept, Decline> {
    Ok(Accept { eta_ms: 0, price: 0, free_memory: 1, free_jobs: 1 })
}

fn actions(job: &mut Job) -> Vec<Action> {
    std::iter::from_fn(|| job.poll_action()).collect()
}

/// Candidate 0 is a stranger that relays honest worker A, candidate 1 is A itself, candidate 2 is honest worker B.
#[test]
fn who_relays_an_honest_worker_and_stops_does_not_take_it_away() {
    let mut job = Job::new(Plan::new(3, 2, 600_000), 3, [1; 32], 0).unwrap();
    job.handle(0, Event::Connected(0, node(1), Network(0)));
    job.handle(1, Event::Connected(1, node(1), Network(1)));
    job.handle(1, Event::Connected(2, node(2), Network(2)));
    job.handle(2, Event::Bid(2, yes()));
    actions(&mut job);
    // The stranger lets nothing through any more.
    job.handle(3, Event::Lost(0, LostWhy::Disconnected("timed out".into())));
    let then = actions(&mut job);
    assert!(!job.is_ended(), "two honest workers are there and reachable: {then:?}");
    assert!(then.contains(&Action::Offer(1)), "A has an address of its own: {then:?}");
}

/// The stranger has many workers in one network, each of which weighs a part: it may not lend that weight to A.
#[test]
fn who_relays_an_honest_worker_does_not_choose_its_weight() {
    const JOBS: u32 = 400;
    let mut honest = 0;
    for n in 0..JOBS {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        // The relay, A itself, nine beside the relay that never bid, and a worker of the stranger's in another network.
        let mut job = Job::new(Plan::new(1, 1, 600_000), 12, seed, 0).unwrap();
        for (p, who, network) in [(0, 1, 0), (1, 1, 1), (2, 9, 2)] {
            job.handle(0, Event::Connected(p, node(who), Network(network)));
        }
        for p in 3..12 {
            job.handle(0, Event::Connected(p, node(20 + u8::try_from(p).unwrap()), Network(0)));
            job.handle(1, Event::Bid(p, yes()));
        }
        job.handle(1, Event::Bid(0, yes()));
        job.handle(1, Event::Bid(2, yes()));
        let seat = actions(&mut job).into_iter().find_map(|a| match a {
            Action::Dispatch { peer, .. } => Some(peer),
            _ => None,
        });
        honest += u32::from(seat.unwrap() == 0);
    }
    // A third of all: two networks of the stranger's, and A's own.
    assert!(honest > JOBS / 4, "of {JOBS} jobs the honest one of three networks got {honest}");
}
