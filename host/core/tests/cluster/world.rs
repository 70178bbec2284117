//! One job among simulated workers: time, the wire, and what is known from outside of the machine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use eider_core::{Action, DeliveryFailure, End, Event, Job, LostWhy, Network, Peer, PeerState, Plan};
use eider_protocol::{Hash, NodeId, Outcome, ResetCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::faults::{FAULTS, Fault, truth};
use crate::workers::any_event;

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Event(Event),
    /// A group of the result came in, in this delivery.
    Group(Peer, u64),
    /// The network brought nothing for long.
    NoGroup(Peer, u64),
}

/// A line of the log of a seed.
pub(crate) enum Line {
    Event(Event),
    /// It came for a peer that was closed.
    Late(Event),
    Action(Action),
}

pub(crate) struct Cluster {
    pub(crate) seed: u64,
    pub(crate) rng: StdRng,
    pub(crate) job: Job,
    pub(crate) plan: Plan,
    pub(crate) faults: Vec<Fault>,
    pub(crate) truth: Outcome,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    happenings: HashMap<usize, Happening>,
    next_happening: usize,
    /// The user reads the result so slowly that each group takes seconds.
    pub(crate) slow_reader: bool,
    /// The user gives up after so many events.
    pub(crate) cancel_after: Option<usize>,
    pub(crate) events: usize,
    pub(crate) nodes: Vec<NodeId>,
    /// When each was dispatched.
    pub(crate) dispatched: BTreeMap<Peer, u64>,
    /// What each committed to while it was open, with the time.
    pub(crate) commits: HashMap<Peer, Vec<(Hash, u64)>>,
    /// When somebody was last dispatched or heard to commit.
    pub(crate) moved: u64,
    /// When a digest first had quorum.
    pub(crate) quorum_at: Option<u64>,
    /// Whether one has it now.
    pub(crate) quorum: bool,
    /// Who was seen to break a rule.
    pub(crate) caught: HashSet<Peer>,
    /// Who lost its vote by that.
    pub(crate) void: HashSet<Peer>,
    /// Peers that have a stream.
    streams: HashSet<Peer>,
    /// Peers to whom nothing may be sent any more.
    silenced: HashSet<Peer>,
    pub(crate) verified: u64,
    /// Deliveries under way: which, and the groups that were there before the next.
    pub(crate) delivering: BTreeMap<Peer, (u64, u64)>,
    /// Who has refused a Dispatch once.
    pub(crate) refused: HashSet<Peer>,
    pub(crate) deliveries: u64,
    pub(crate) log: Vec<(u64, Line)>,
    pub(crate) end: Option<End>,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let n = rng.random_range(1..=12);
        let k = rng.random_range(1..=n.min(6));
        let quorum = rng.random_range(k / 2 + 1..=k);
        let mut plan = Plan { hedge_ms: 10_000, ..Plan::new(k, quorum, 600_000) };
        plan.executions = rng.random_range(k..=k + 2 * quorum + 2);
        let trouble: f64 = rng.random_range(0.0..0.8);
        let faults: Vec<_> = (0..n)
            .map(|_| if rng.random_bool(trouble) { FAULTS[rng.random_range(0..FAULTS.len())] } else { Fault::None })
            .collect();
        let nodes =
            (0..n).map(|p| NodeId::from_bytes([if faults[p] == Fault::Duplicate { 0 } else { p as u8 }; 32])).collect();
        let truth = truth(rng.random_bool(0.15));
        let networks: Vec<_> = (0..n).map(|_| Network(rng.random_range(0..4))).collect();
        let job = Job::new(plan, n, rng.random(), 0).unwrap();
        let slow_reader = rng.random_bool(0.1);
        let mut cluster = Self {
            seed,
            rng,
            job,
            plan,
            faults,
            truth,
            now: 0,
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            next_happening: 0,
            slow_reader,
            cancel_after: None,
            events: 0,
            nodes,
            dispatched: BTreeMap::new(),
            commits: HashMap::new(),
            moved: 0,
            quorum_at: None,
            quorum: false,
            caught: HashSet::new(),
            void: HashSet::new(),
            streams: HashSet::new(),
            silenced: HashSet::new(),
            verified: 0,
            delivering: BTreeMap::new(),
            refused: HashSet::new(),
            deliveries: 0,
            log: vec![],
            end: None,
        };
        for (p, network) in networks.into_iter().enumerate() {
            let event = match cluster.faults[p] {
                Fault::Unreachable => Event::Unreachable(p, "refused".into()),
                _ => Event::Connected(p, cluster.nodes[p], network),
            };
            let most = if cluster.faults[p] == Fault::SlowBid { 2_000 } else { 50 };
            cluster.later(1, most, event);
        }
        cluster
    }

    pub(crate) fn later(&mut self, least: u64, most: u64, event: Event) {
        self.happens(least, most, Happening::Event(event));
    }

    pub(crate) fn happens(&mut self, least: u64, most: u64, what: Happening) {
        let at = self.now + self.rng.random_range(least..=most);
        self.happenings.insert(self.next_happening, what);
        self.queue.push(Reverse((at, self.next_happening)));
        self.next_happening += 1;
    }

    pub(crate) fn run(&mut self) {
        self.drain(&HashSet::new());
        for _ in 0..20_000 {
            if self.end.is_some() {
                return self.after_the_end();
            }
            if self.cancel_after.is_some_and(|n| self.events >= n) {
                self.hand_in(Event::Cancel);
                continue;
            }
            let timeout = self.job.next_timeout().unwrap();
            // Time never outruns what has arrived.
            match self.queue.peek() {
                Some(Reverse((at, id))) if *at <= timeout => {
                    self.now = self.now.max(*at);
                    let id = *id;
                    self.queue.pop();
                    let what = self.happenings.remove(&id).unwrap();
                    self.happen(what);
                }
                _ => {
                    self.now = self.now.max(timeout);
                    self.hand_in(Event::Tick);
                }
            }
            self.late_event();
        }
        panic!("{}", self.report("the job never ended"));
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Event(event) => self.hand_in(event),
            Happening::Group(p, id) if self.delivers(p, id) => self.group(p, id),
            Happening::NoGroup(p, id) if self.delivers(p, id) => {
                self.delivering.remove(&p);
                self.hand_in(Event::DeliveryFailed(p, DeliveryFailure::Slow));
            }
            Happening::Group(..) | Happening::NoGroup(..) => {}
        }
    }

    fn delivers(&self, p: Peer, id: u64) -> bool {
        self.delivering.get(&p).is_some_and(|(delivery, _)| *delivery == id)
    }

    /// The machine takes an event in; what comes for a closed peer or a job that has ended must change nothing.
    pub(crate) fn hand_in(&mut self, event: Event) {
        let closed: HashSet<Peer> = self.closed().collect();
        let late = self.end.is_some() || peer_of(&event).is_some_and(|p| closed.contains(&p));
        self.events += 1;
        if let (Event::Commit(p, outcome), false) = (&event, late) {
            self.commits.entry(*p).or_default().push((outcome.digest(), self.now));
            self.moved = self.now;
        }
        let gone = match &event {
            Event::Lost(p, LostWhy::ResetByWorker(ResetCode::OverCapacity)) => {
                self.dispatched.remove(p);
                None
            }
            Event::Lost(p, why) if !matches!(why, LostWhy::Misbehaved(..)) => Some(*p),
            _ => None,
        };
        let before = late.then(|| self.job.peers().to_vec());
        self.log.push((self.now, if late { Line::Late(event.clone()) } else { Line::Event(event.clone()) }));
        self.job.handle(self.now, event);
        if let Some(before) = before {
            for p in closed.iter().copied() {
                assert_eq!(self.job.peers()[p], before[p], "{}", self.report("a late event changed a closed peer"));
            }
        }
        self.silenced.extend(gone);
        if let Some(p) = gone {
            self.delivering.remove(&p);
        }
        self.drain(&closed);
    }

    fn closed(&self) -> impl Iterator<Item = Peer> {
        (0..self.faults.len()).filter(|p| matches!(self.job.peers()[*p], PeerState::Closed(_)))
    }

    /// Whoever is out of the job says something all the same, now and then.
    fn late_event(&mut self) {
        if self.end.is_some() || !self.rng.random_bool(0.05) {
            return;
        }
        let closed: Vec<Peer> = self.closed().collect();
        if closed.is_empty() {
            return;
        }
        let p = closed[self.rng.random_range(0..closed.len())];
        let event = any_event(p, &mut self.rng);
        self.hand_in(event);
    }

    /// Everything that is still on its way, and more, changes nothing any more.
    fn after_the_end(&mut self) {
        let rest: Vec<_> = std::mem::take(&mut self.happenings).into_values().collect();
        for what in rest {
            if let Happening::Event(event) = what {
                self.hand_in(event);
            }
        }
        for p in 0..self.faults.len() {
            let event = any_event(p, &mut self.rng);
            self.hand_in(event);
        }
        self.hand_in(Event::Cancel);
        self.hand_in(Event::Tick);
        assert!(self.job.next_timeout().is_none());
    }

    fn drain(&mut self, closed_before: &HashSet<Peer>) {
        let ended = self.end.is_some();
        while let Some(action) = self.job.poll_action() {
            assert!(!ended, "{}", self.report("an action after the end"));
            self.log.push((self.now, Line::Action(action.clone())));
            match action {
                Action::Offer(p) => {
                    self.streams.insert(p);
                    // One that was a duplicate takes the place of the other.
                    let before = if self.dispatched.contains_key(&p) { closed_before } else { &HashSet::new() };
                    self.may_act(p, before, &action);
                }
                Action::Dispatch { peer: p, .. } | Action::Verify(p) => self.may_act(p, closed_before, &action),
                Action::Settle(p, ..) | Action::Reset(p, _) => {
                    self.may_act(p, closed_before, &action);
                    self.silenced.insert(p);
                }
                Action::End(_) => {}
            }
            self.act(action);
        }
        self.invariants();
    }

    fn may_act(&self, p: Peer, closed_before: &HashSet<Peer>, action: &Action) {
        let open = !closed_before.contains(&p) && !self.silenced.contains(&p) && self.streams.contains(&p);
        assert!(open, "{}", self.report(&format!("{action:?} for a peer that is closed, gone or not there")));
    }

    pub(crate) fn report(&self, what: &str) -> String {
        let lines: Vec<_> = self
            .log
            .iter()
            .map(|(at, line)| match line {
                Line::Event(e) => format!("{at:6} {e:?}"),
                Line::Late(e) => format!("{at:6} (late) {e:?}"),
                Line::Action(a) => format!("{at:6}     {a:?}"),
            })
            .collect();
        let (seed, plan, faults, end) = (self.seed, self.plan, &self.faults, &self.end);
        let lines = lines.join("\n");
        format!("{what}\nseed {seed} now {} plan {plan:?}\nfaults {faults:?}\n{lines}\nend {end:?}", self.now)
    }
}

fn peer_of(event: &Event) -> Option<Peer> {
    match event {
        Event::Connected(p, ..)
        | Event::Appraising(p)
        | Event::Challenged(p)
        | Event::Unreachable(p, _)
        | Event::Bid(p, _)
        | Event::Unfit(p, _)
        | Event::Progress(p)
        | Event::Commit(p, _)
        | Event::Delivered(p)
        | Event::DeliveryFailed(p, _)
        | Event::Lost(p, _) => Some(*p),
        Event::InputFailed(_) | Event::Cancel | Event::Tick => None,
    }
}
