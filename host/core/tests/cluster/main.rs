//! The requester's machine against simulated workers with seeded faults; invariants run after every event.
//!
//! A failing seed is printed with its event log; run it alone with `EIDER_SIM_SEED=n`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use eider_core::{Action, DeliveryFailure, End, Event, Job, LostWhy, Peer, PeerState, Plan};
use eider_protocol::{Accept, Decline, DeclineReason, FailureKind, Hash, Metering, NodeId, Outcome, ResetCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SEEDS: u64 = 10_000;
/// Groups of a simulated result.
const GROUPS: u64 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    Unreachable,
    Silent,
    DeclineSmall,
    DeclineBusy,
    Unfit,
    Crash,
    Stall,
    LieInCommit,
    LieInDelivery,
    CommitAndVanish,
    Equivocate,
    BreakDelivery,
    OutOfOrder,
    Duplicate,
}

const FAULTS: [Fault; 15] = [
    Fault::None,
    Fault::Unreachable,
    Fault::Silent,
    Fault::DeclineSmall,
    Fault::DeclineBusy,
    Fault::Unfit,
    Fault::Crash,
    Fault::Stall,
    Fault::LieInCommit,
    Fault::LieInDelivery,
    Fault::CommitAndVanish,
    Fault::Equivocate,
    Fault::BreakDelivery,
    Fault::OutOfOrder,
    Fault::Duplicate,
];

fn truth(fails: bool) -> Outcome {
    if fails {
        return Outcome::Failed { kind: FailureKind::Query, message: "Binder Error".into() };
    }
    let metering = Metering { fuel: None, bytes_read: 1, reads: 1, memory: 1 };
    Outcome::Completed { root: Hash::from_bytes([1; 32]), length: GROUPS, rows: 1, metering }
}

/// Liars may collude: few different lies.
fn lie(rng: &mut StdRng) -> Outcome {
    let metering = Metering { fuel: None, bytes_read: 1, reads: 1, memory: 1 };
    let root = Hash::from_bytes([rng.random_range(2..4); 32]);
    Outcome::Completed { root, length: GROUPS, rows: 1, metering }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct At(u64, u64);

struct Cluster {
    seed: u64,
    rng: StdRng,
    job: Job,
    plan: Plan,
    faults: Vec<Fault>,
    truth: Outcome,
    now: u64,
    queue: BinaryHeap<Reverse<(At, usize)>>,
    events: HashMap<usize, Event>,
    next_event: usize,
    /// What we know from outside the machine.
    nodes: Vec<NodeId>,
    commits: HashMap<Peer, Vec<Hash>>,
    closed_streams: HashSet<Peer>,
    verified: u64,
    delivering: Option<(Peer, u64)>,
    log: Vec<String>,
    end: Option<End>,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let n = rng.random_range(1..=9);
        let k = rng.random_range(1..=n.min(6));
        let quorum = rng.random_range(k / 2 + 1..=k);
        let plan = Plan { k, quorum, deadline_ms: 60_000, ..Plan::default() };
        let trouble: f64 = rng.random_range(0.0..0.7);
        let faults: Vec<_> = (0..n)
            .map(|_| if rng.random_bool(trouble) { FAULTS[rng.random_range(0..FAULTS.len())] } else { Fault::None })
            .collect();
        let nodes =
            (0..n).map(|p| NodeId::from_bytes([if faults[p] == Fault::Duplicate { 0 } else { p as u8 }; 32])).collect();
        let truth = truth(rng.random_bool(0.15));
        let job = Job::new(plan, n, 0).unwrap();
        let mut cluster = Self {
            seed,
            rng,
            job,
            plan,
            faults,
            truth,
            now: 0,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next_event: 0,
            nodes,
            commits: HashMap::new(),
            closed_streams: HashSet::new(),
            verified: 0,
            delivering: None,
            log: vec![],
            end: None,
        };
        for p in 0..n {
            let event = match cluster.faults[p] {
                Fault::Unreachable => Event::Unreachable(p, "refused".into()),
                _ => Event::Connected(p, cluster.nodes[p]),
            };
            cluster.later(1, 50, event);
        }
        cluster
    }

    fn later(&mut self, least: u64, most: u64, event: Event) {
        let at = self.now + self.rng.random_range(least..=most);
        self.events.insert(self.next_event, event);
        self.queue.push(Reverse((At(at, self.next_event as u64), self.next_event)));
        self.next_event += 1;
    }

    fn run(&mut self) {
        self.drain();
        for _ in 0..10_000 {
            if self.end.is_some() {
                break;
            }
            let timeout = self.job.next_timeout().unwrap();
            let event = match self.queue.peek() {
                Some(Reverse((At(at, _), id))) if *at <= timeout => {
                    self.now = self.now.max(*at);
                    let id = *id;
                    self.queue.pop();
                    self.events.remove(&id).unwrap()
                }
                _ => {
                    self.now = self.now.max(timeout);
                    Event::Tick
                }
            };
            self.apply(event);
            self.drain();
        }
        assert!(self.end.is_some(), "{}", self.report("the job never ended"));
    }

    /// What happens on the wire as the event arrives: a reset stream carries nothing any more.
    fn apply(&mut self, event: Event) {
        if let Some(p) = peer_of(&event)
            && self.closed_streams.contains(&p)
        {
            return;
        }
        self.log.push(format!("{:6} {event:?}", self.now));
        match &event {
            Event::Commit(p, outcome) => self.commits.entry(*p).or_default().push(outcome.digest()),
            Event::Bytes(p) => {
                if let Some((who, at)) = self.delivering.as_mut().filter(|(who, _)| who == p) {
                    assert_eq!(*at, self.verified, "bytes of {who} out of order");
                    *at += 1;
                    self.verified += 1;
                }
                if self.verified < GROUPS {
                    let p = *p;
                    let next = self.next_delivery(p);
                    self.later(1, 30, next);
                } else {
                    self.later(0, 5, Event::Delivered(*p));
                }
            }
            _ => {}
        }
        self.job.handle(self.now, event);
    }

    fn next_delivery(&mut self, p: Peer) -> Event {
        let broken = self.rng.random_bool(0.5);
        match self.faults[p] {
            // The lie is in some group; what came before it was right.
            Fault::LieInDelivery if broken => Event::DeliveryFailed(p, DeliveryFailure::WrongBytes),
            Fault::LieInDelivery if self.verified + 1 == GROUPS => {
                Event::DeliveryFailed(p, DeliveryFailure::WrongBytes)
            }
            Fault::BreakDelivery if broken => Event::DeliveryFailed(p, DeliveryFailure::Broken),
            _ => Event::Bytes(p),
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.job.poll_action() {
            self.log.push(format!("{:6}     {action:?}", self.now));
            self.act(action);
        }
        self.invariants();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Offer(p) => {
                let no = |reason| Err(Decline { reason, detail: String::new() });
                let answer = match self.faults[p] {
                    Fault::Silent => return,
                    Fault::DeclineSmall => no(DeclineReason::TooLarge),
                    Fault::DeclineBusy => no(DeclineReason::Busy),
                    _ => Ok(Accept { eta_ms: self.rng.random_range(0..3), price: 0, free_memory: 1, free_jobs: 1 }),
                };
                let unfit = || Event::Unfit(p, "no evidence".into());
                let event = if self.faults[p] == Fault::Unfit { unfit() } else { Event::Bid(p, answer) };
                self.later(1, 400, event);
            }
            Action::Dispatch(p) => self.dispatched(p),
            Action::Verify(p) => {
                self.delivering = Some((p, self.verified));
                // All bytes came before the last deliverer was lost: nothing is left to send.
                let next = if self.verified == GROUPS { Event::Delivered(p) } else { self.next_delivery(p) };
                self.later(1, 30, next);
            }
            Action::Settle(p, ..) | Action::Reset(p, _) => {
                self.closed_streams.insert(p);
            }
            Action::End(end) => {
                assert!(self.end.is_none(), "{}", self.report("two ends"));
                self.end = Some(end);
            }
        }
    }

    fn dispatched(&mut self, p: Peer) {
        let truth = self.truth.clone();
        match self.faults[p] {
            Fault::Crash => self.later(1, 500, Event::Lost(p, LostWhy::Disconnected("crash".into()))),
            Fault::Stall => {}
            Fault::LieInCommit => {
                let lie = lie(&mut self.rng);
                self.later(1, 800, Event::Commit(p, lie));
            }
            Fault::CommitAndVanish => {
                self.later(1, 400, Event::Commit(p, truth));
                self.later(401, 402, Event::Lost(p, LostWhy::Disconnected("gone".into())));
            }
            Fault::Equivocate => {
                let lie = lie(&mut self.rng);
                self.later(1, 400, Event::Commit(p, truth));
                self.later(401, 500, Event::Commit(p, lie));
            }
            Fault::OutOfOrder => {
                self.later(1, 200, Event::Bid(p, Err(Decline { reason: DeclineReason::Busy, detail: String::new() })));
                self.later(1, 400, Event::Commit(p, truth));
            }
            _ => {
                self.later(1, 200, Event::Progress(p));
                self.later(1, 1500, Event::Commit(p, truth));
            }
        }
    }

    /// Checked after every event.
    fn invariants(&self) {
        self.invariant_verified_has_distinct_quorum();
        self.invariant_ended_leaves_nobody_waiting();
        assert!(self.verified <= GROUPS);
    }

    fn invariant_verified_has_distinct_quorum(&self) {
        let (digest, agreed) = match &self.end {
            Some(End::Verified { outcome, agreed, .. }) => {
                assert_eq!(self.verified, GROUPS, "{}", self.report("verified without all bytes"));
                (outcome.digest(), agreed)
            }
            Some(End::JobFailed { kind, message, agreed }) => {
                (Outcome::Failed { kind: *kind, message: message.clone() }.digest(), agreed)
            }
            _ => return,
        };
        let ids: HashSet<_> = agreed.iter().map(|p| self.nodes[*p]).collect();
        assert!(ids.len() >= self.plan.quorum, "{}", self.report("fewer identities than the quorum"));
        for p in agreed {
            assert!(self.commits[p].contains(&digest), "{}", self.report("an agreement that was never committed"));
        }
        let liars = self.faults.iter().filter(|f| matches!(f, Fault::LieInCommit | Fault::Equivocate)).count();
        if liars < self.plan.quorum {
            assert_eq!(digest, self.truth.digest(), "{}", self.report("a lie was accepted"));
        }
    }

    fn invariant_ended_leaves_nobody_waiting(&self) {
        if self.end.is_some() {
            let open = self.job.peers().iter().any(|s| !matches!(s, PeerState::Closed(_)));
            assert!(!open, "{}", self.report("a peer is left open"));
        }
    }

    /// Enough honest candidates must give an answer, whatever the others do.
    fn liveness(&self) {
        let honest: HashSet<_> =
            (0..self.faults.len()).filter(|p| self.faults[*p] == Fault::None).map(|p| self.nodes[p]).collect();
        let duplicates = self.faults.contains(&Fault::Duplicate);
        let liars = self.faults.iter().filter(|f| matches!(f, Fault::LieInCommit | Fault::Equivocate)).count();
        // The losers are reset at the quorum: its members alone can deliver, so one of them must be honest.
        let spoilers = |f: &&Fault| {
            matches!(
                f,
                Fault::LieInDelivery
                    | Fault::BreakDelivery
                    | Fault::CommitAndVanish
                    | Fault::OutOfOrder
                    | Fault::Equivocate
            )
        };
        let deliverable = self.faults.iter().filter(spoilers).count() < self.plan.quorum;
        if honest.len() >= self.plan.quorum && liars < self.plan.quorum && deliverable && !duplicates {
            let good = matches!(self.end, Some(End::Verified { .. } | End::JobFailed { .. }));
            assert!(good, "{}", self.report("a quorum of honest workers gave no answer"));
            assert!(self.now < 40_000, "{}", self.report("the answer took the deadline"));
        }
    }

    fn report(&self, what: &str) -> String {
        format!(
            "{what}\nseed {} plan {:?}\nfaults {:?}\n{}\nend {:?}",
            self.seed,
            self.plan,
            self.faults,
            self.log.join("\n"),
            self.end
        )
    }
}

fn peer_of(event: &Event) -> Option<Peer> {
    match event {
        Event::Connected(p, _)
        | Event::Unreachable(p, _)
        | Event::Bid(p, _)
        | Event::Unfit(p, _)
        | Event::Progress(p)
        | Event::Commit(p, _)
        | Event::Bytes(p)
        | Event::Delivered(p)
        | Event::DeliveryFailed(p, _)
        | Event::Lost(p, _) => Some(*p),
        Event::InputFailed(_) | Event::Cancel | Event::Tick => None,
    }
}

#[test]
fn ten_thousand_seeds_keep_the_invariants() {
    let one = std::env::var("EIDER_SIM_SEED").ok().and_then(|s| s.parse::<u64>().ok());
    let seeds = one.map_or(0..SEEDS, |s| s..s + 1);
    let mut ends: HashMap<String, u64> = HashMap::new();
    for seed in seeds {
        let mut cluster = Cluster::new(seed);
        cluster.run();
        cluster.liveness();
        let word = format!("{:?}", cluster.end.as_ref().unwrap());
        *ends.entry(word.split([' ', '(']).next().unwrap().to_string()).or_default() += 1;
    }
    println!("{ends:?}");
    // A simulation that reaches only happy ends proves little.
    if one.is_none() {
        for word in ["Verified", "JobFailed", "NoQuorum", "NoCandidates", "ExceedsCapacity", "NoDelivery"] {
            assert!(ends.contains_key(word), "no seed ended as {word}: {ends:?}");
        }
    }
}

#[test]
fn split_quorum_is_surfaced_not_resolved() {
    let plan = Plan { k: 2, quorum: 2, ..Plan::default() };
    let mut job = Job::new(plan, 2, 0).unwrap();
    for p in 0..2 {
        job.handle(1, Event::Connected(p, NodeId::from_bytes([p as u8; 32])));
        job.handle(2, Event::Bid(p, Ok(Accept { eta_ms: 0, price: 0, free_memory: 0, free_jobs: 1 })));
    }
    job.handle(3, Event::Commit(0, truth(false)));
    job.handle(4, Event::Commit(1, truth(true)));
    let end =
        std::iter::from_fn(|| job.poll_action()).find_map(|a| if let Action::End(e) = a { Some(e) } else { None });
    let Some(End::NoQuorum { split }) = end else { panic!("{end:?}") };
    assert_eq!(split.len(), 2);
}

#[test]
fn slowest_worker_is_reset_the_moment_quorum_is_reached() {
    let mut job = Job::new(Plan::default(), 3, 0).unwrap();
    for p in 0..3 {
        job.handle(1, Event::Connected(p, NodeId::from_bytes([p as u8; 32])));
        job.handle(2, Event::Bid(p, Ok(Accept { eta_ms: 0, price: 0, free_memory: 0, free_jobs: 1 })));
    }
    job.handle(3, Event::Commit(0, truth(false)));
    job.handle(4, Event::Commit(2, truth(false)));
    let actions: Vec<_> = std::iter::from_fn(|| job.poll_action()).collect();
    assert!(actions.contains(&Action::Reset(1, ResetCode::QuorumReached)), "{actions:?}");
    assert!(actions.contains(&Action::Verify(0)), "{actions:?}");
}
