//! Jobs as a requester runs them: its own logic ([`eider_core::Job`]) and real signatures, with workers and a clock of the test.
//! What `eider-requester` does around that logic is done here as it does it.

use std::collections::BTreeMap;

use eider_attest::{AttestPolicy, Binding, Envelope, EvidenceKind, Expected, Issued, appraise};
use eider_core::{Action, Closed, DeliveryFailure, End, Event, Job, LostWhy, Network, PeerState, Plan};
use eider_protocol::*;
use eider_store::{Fate, JobEnd, JobRecord, Memory, Moment, PeerRecord, ResetCodeWord, What};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What a worker does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Does {
    Agrees,
    Dissents,
    /// Commits twice, so many ms apart.
    Equivocates(u64),
    /// Commits, and leaves before it delivers.
    LeavesAfter,
    GivesUp,
    /// Is full when its Dispatch comes, once; then agrees.
    RefusesOnce,
    Breaks,
    /// Commits, and breaks the protocol then.
    BreaksAfter,
    Stalls,
    /// Commits after this many ms.
    Late(u64),
    WrongBytes,
    SlowBytes,
    Declines,
    /// Is busy so many times; then agrees.
    Busy(u32),
    AsksTooMuch,
    CouldStartLate,
    ShowsNothing,
    SaysNothing,
    Unreachable,
    OfLaterVersion,
    /// The node of an earlier candidate.
    SameAs(usize),
}

pub(crate) const ALL: [Does; 21] = [
    Does::Agrees,
    Does::Dissents,
    Does::Equivocates(3),
    Does::LeavesAfter,
    Does::GivesUp,
    Does::RefusesOnce,
    Does::Breaks,
    Does::BreaksAfter,
    Does::Stalls,
    Does::Late(4_000),
    Does::WrongBytes,
    Does::SlowBytes,
    Does::Declines,
    Does::Busy(2),
    Does::AsksTooMuch,
    Does::CouldStartLate,
    Does::ShowsNothing,
    Does::SaysNothing,
    Does::Unreachable,
    Does::OfLaterVersion,
    Does::SameAs(0),
];

/// A job to be run.
pub(crate) struct Scenario {
    pub workers: Vec<Does>,
    pub k: usize,
    pub quorum: usize,
    /// The text of the policy, if there is one.
    pub policy: Option<String>,
    /// Workers find that the query fails.
    pub fails: bool,
    /// The user gives up after so many ms.
    pub cancelled: Option<u64>,
    /// An input changes after so many ms.
    pub input_changes: Option<u64>,
    /// One in so many receipts is lost; none if 0.
    pub receipts_lost: u32,
    pub seed: u64,
}

/// What is heard.
enum Heard {
    Connected(usize),
    Bid(usize),
    Commit(usize, Outcome),
    Event(Event),
    WrongBytes(usize),
    SlowBytes(usize),
}

pub(crate) struct Grid<'a> {
    scenario: &'a Scenario,
    rng: StdRng,
    requester: Identity,
    policy: Option<AttestPolicy>,
    task: Task,
    terms: Terms,
    offer: Offer,
    payload: Vec<u8>,
    id: OfferId,
    job: Job,
    nodes: Vec<Identity>,
    times: Vec<u32>,
    prices: Vec<Option<u64>>,
    granted: Vec<bool>,
    peers: Vec<PeerRecord>,
    timeline: Vec<Moment>,
    now: u64,
    queue: BTreeMap<(u64, u64), Heard>,
    queued: u64,
    end: Option<End>,
}

const AT: i64 = 1_790_000_000;

pub(crate) fn requester() -> Identity {
    Identity::from_seed([200; 32])
}

pub(crate) fn result() -> Outcome {
    let metering = Metering { fuel: None, bytes_read: 900, reads: 3, memory: 1 << 20 };
    Outcome::Completed { root: Hash::from_bytes([21; 32]), length: 4_000, rows: 10, metering }
}

fn another(n: u8) -> Outcome {
    let metering = Metering { fuel: None, bytes_read: 900, reads: 3, memory: 1 << 20 };
    Outcome::Completed { root: Hash::from_bytes([n; 32]), length: 4_000, rows: 11, metering }
}

impl<'a> Grid<'a> {
    /// Runs the job to its end.
    pub(crate) fn run(scenario: &'a Scenario) -> JobRecord {
        let mut grid = Self::new(scenario);
        while grid.end.is_none() {
            while let Some(action) = grid.job.poll_action() {
                grid.act(action);
            }
            if grid.end.is_some() {
                break;
            }
            let timer = grid.job.next_timeout().unwrap();
            match grid.queue.first_key_value().map(|(k, _)| *k) {
                Some(key) if key.0 <= timer => {
                    grid.now = grid.now.max(key.0);
                    let heard = grid.queue.remove(&key).unwrap();
                    grid.hear(heard);
                }
                _ => {
                    grid.now = grid.now.max(timer);
                    grid.job.handle(grid.now, Event::Tick);
                }
            }
        }
        grid.log(None, What::Done);
        // What comes while receipts are awaited: equivocation is kept whenever it shows.
        let until = grid.now + 300;
        while let Some(((at, _), heard)) = grid.queue.pop_first() {
            if let (Heard::Commit(p, outcome), true) = (heard, at <= until) {
                grid.now = grid.now.max(at);
                grid.committed(p, outcome);
            }
        }
        grid.into_record()
    }

    fn new(scenario: &'a Scenario) -> Self {
        let mut rng = StdRng::seed_from_u64(scenario.seed);
        let entry = |n: u8| InputEntry {
            table: "t".into(),
            file: format!("t/{n}.parquet"),
            format: Format::Parquet,
            size: 1_000 * u64::from(n),
            hash: Hash::from_bytes([n; 32]),
        };
        let task = Task {
            sql: "SELECT count(*) FROM t".into(),
            inputs: vec![entry(1), entry(2)],
            time_us: 1_790_000_000_000_000,
            seed: rng.random(),
            salt: rng.random(),
        };
        let policy = scenario.policy.as_ref().map(|text| AttestPolicy::parse(text.as_bytes()).unwrap());
        let plan = Plan { stall_ms: 1_500, ..Plan::new(scenario.k, scenario.quorum, 60_000) };
        let terms = Terms {
            seed: rng.random(),
            k: plan.k as u64,
            quorum: plan.quorum as u64,
            executions: plan.executions as u64,
            policy: policy.as_ref().map(AttestPolicy::hash),
        };
        let wanting = policy.as_ref().filter(|p| p.minimum > eider_attest::Tier::L0);
        let max_age_s = |p: &AttestPolicy| u32::try_from(p.reuse_seconds()).unwrap();
        let offer = Offer {
            requester: requester().node_id(),
            task: task.hash(),
            draw: terms.commitment(),
            class: if policy.is_some() { DataClass::Internal } else { DataClass::Public },
            engine: Hash::from_bytes([11; 32]),
            profile: "p1-plain".into(),
            limits: Limits { memory: 1 << 30, result: 1 << 20, run_ms: 60_000, fuel: None },
            inputs: InputsSummary { count: 2, bytes: 3_000 },
            attest: wanting.map(|p| Demand { policy: p.hash(), max_age_s: max_age_s(p) }),
            issued_at: AT,
            valid_s: 60,
            nonce: rng.random(),
        };
        let signed = Signed::sign(&requester(), Version::LATEST, offer.clone());
        let candidates = scenario.workers.len();
        let node = |(n, does): (usize, &Does)| {
            let n = if let Does::SameAs(other) = does { *other } else { n };
            Identity::from_seed([n as u8 + 1; 32])
        };
        let peer = |n: usize| PeerRecord {
            address: format!("10.0.{n}.1:4433"),
            node: None,
            network: None,
            fate: Fate::Open,
            at_fault: false,
            commit: None,
            appraisal: None,
            known: None,
            signed_bid: None,
            bid_hash: None,
            signed_commit: None,
            second_commit: None,
            signed_receipt: None,
            input_bytes: 0,
        };
        let mut grid = Self {
            scenario,
            requester: requester(),
            policy,
            id: OfferId::from_bytes(*signed.content_hash().as_bytes()),
            payload: signed.to_payload(),
            job: Job::new(plan, candidates, terms.seed, 0).unwrap(),
            task,
            terms,
            offer,
            nodes: scenario.workers.iter().enumerate().map(node).collect(),
            times: vec![0; candidates],
            prices: vec![None; candidates],
            granted: vec![false; candidates],
            peers: (0..candidates).map(peer).collect(),
            timeline: vec![],
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            end: None,
            rng,
        };
        for p in 0..candidates {
            match scenario.workers[p] {
                Does::Unreachable => grid.later(5, Heard::Event(Event::Unreachable(p, "refused".into()))),
                Does::SameAs(_) => grid.later(30, Heard::Connected(p)),
                _ => grid.later(20, Heard::Connected(p)),
            }
        }
        if let Some(ms) = scenario.cancelled {
            grid.later(ms, Heard::Event(Event::Cancel));
        }
        if let Some(ms) = scenario.input_changes {
            grid.later(ms, Heard::Event(Event::InputFailed("t/1.parquet changed".into())));
        }
        grid
    }

    fn later(&mut self, ms: u64, heard: Heard) {
        self.queued += 1;
        self.queue.insert((self.now + ms + self.rng.random_range(0..10), self.queued), heard);
    }

    fn log(&mut self, peer: Option<usize>, what: What) {
        self.timeline.push(Moment { ms: self.now as f64 + 0.25, peer, what });
    }

    fn sign<T: Body>(&self, p: usize, message: T) -> String {
        hex::encode(Signed::sign(&self.nodes[p], Version::LATEST, message).to_payload())
    }

    fn hear(&mut self, heard: Heard) {
        let event = match heard {
            Heard::Connected(p) => {
                self.peers[p].node = Some(self.nodes[p].node_id());
                self.peers[p].network = Some(format!("10.0.{p}.0/24"));
                Some(Event::Connected(p, self.nodes[p].node_id(), Network(p as u32)))
            }
            Heard::Bid(p) => self.bid(p),
            Heard::Commit(p, outcome) => Some(self.committed(p, outcome)),
            Heard::WrongBytes(p) => {
                self.log(Some(p), What::WrongBytes);
                Some(Event::DeliveryFailed(p, DeliveryFailure::WrongBytes))
            }
            Heard::SlowBytes(p) => {
                self.log(Some(p), What::SlowDelivery);
                Some(Event::DeliveryFailed(p, DeliveryFailure::Slow))
            }
            Heard::Event(event) => {
                if let Event::Delivered(p) = event {
                    self.log(Some(p), What::FirstByte);
                }
                Some(event)
            }
        };
        if let Some(event) = event {
            self.job.handle(self.now, event);
        }
    }

    fn bid(&mut self, p: usize) -> Option<Event> {
        if self.job.peers()[p] != PeerState::ExpectBid || self.peers[p].bid_hash.is_some() {
            return None;
        }
        let does = self.scenario.workers[p];
        let decline = |reason, detail: &str| Err(Decline { reason, detail: detail.into() });
        let accept = Accept { eta_ms: 5, price: 0, free_memory: 1 << 30, free_jobs: 2 };
        let answer = match does {
            Does::Declines => decline(DeclineReason::TooLarge, "8 GiB are\nmore than 4"),
            Does::Busy(times) if self.times[p] < times => decline(DeclineReason::Busy, "all slots are taken"),
            Does::AsksTooMuch => Ok(Accept { price: 7, ..accept }),
            Does::CouldStartLate => Ok(Accept { eta_ms: 100_000_000, ..accept }),
            _ => Ok(accept),
        };
        self.times[p] += 1;
        let sealing = [p as u8 + 100; 32];
        let evidence = (self.offer.attest.is_some() && does != Does::ShowsNothing).then(|| self.evidence(p, sealing));
        let evidence = evidence.map(serde_bytes::ByteBuf::from);
        let bid = Bid { offer: self.id, answer: answer.clone(), sealing, evidence };
        let signed = Signed::sign(&self.nodes[p], Version::LATEST, bid.clone()).to_payload();
        self.log(Some(p), What::Bid);
        self.peers[p].bid_hash = Some(blake3_of(&signed));
        self.peers[p].signed_bid = Some(hex::encode(signed));
        let Ok(accept) = answer else { return Some(Event::Bid(p, answer)) };
        self.prices[p] = Some(accept.price);
        let policy = self.policy.clone().filter(|_| self.offer.attest.is_some());
        let Some(policy) = policy else { return Some(Event::Bid(p, answer)) };
        self.job.handle(self.now, Event::Appraising(p));
        let known = Memory::default();
        let expected = Expected {
            requester: self.offer.requester,
            node: self.nodes[p].node_id(),
            sealing,
            engine: self.offer.engine,
            demanded: policy.hash(),
            offer: Issued { offer: self.id, nonce: self.offer.nonce, at: AT },
            earlier: &known.issued,
            seen: &known.seen,
            activated: &known.activated,
        };
        let appraisal = appraise(bid.evidence.as_ref().map(|e| &e[..]), &expected, AT + 1, &policy);
        let lacking = Fate::lacking(&appraisal, &policy);
        self.peers[p].known = Some(known);
        self.peers[p].appraisal = Some(appraisal);
        Some(match lacking {
            Some(why) => Event::Unfit(p, why),
            None => Event::Bid(p, answer),
        })
    }

    fn evidence(&self, p: usize, sealing: [u8; 32]) -> Vec<u8> {
        let kind = EvidenceKind::Development;
        let binding = Binding {
            kind,
            nonce: self.offer.nonce,
            requester: self.offer.requester,
            offer: self.id,
            node: self.nodes[p].node_id(),
            sealing,
            engine: self.offer.engine,
            policy: self.offer.attest.unwrap().policy,
        };
        let envelope = Envelope {
            v: 1,
            kind,
            evidence: binding.digest().to_vec(),
            log: None,
            endorsements: vec![],
            offer: self.id,
            nonce: self.offer.nonce,
            sealing,
        };
        envelope.sign(&self.nodes[p])
    }

    fn committed(&mut self, p: usize, outcome: Outcome) -> Event {
        if let (true, Some(price)) = (self.granted[p], self.prices[p]) {
            let commit = Commit { offer: self.id, task: self.offer.task, price, outcome: outcome.clone() };
            let signed = self.sign(p, commit);
            if self.peers[p].signed_commit.is_none() {
                self.peers[p].signed_commit = Some(signed);
                self.peers[p].commit = Some(outcome.clone());
                self.log(Some(p), What::Commit);
            } else if self.peers[p].second_commit.is_none() && self.peers[p].commit.as_ref() != Some(&outcome) {
                self.peers[p].second_commit = Some(signed);
                self.log(Some(p), What::SecondCommit);
            }
        }
        Event::Commit(p, outcome)
    }

    fn act(&mut self, action: Action) {
        let lost = |p, why| Heard::Event(Event::Lost(p, why));
        let gone = || LostWhy::Disconnected("the connection broke".into());
        match action {
            Action::Offer(p) => {
                self.log(Some(p), What::Offer);
                if self.peers[p].bid_hash.is_some() {
                    let peer = &mut self.peers[p];
                    (peer.signed_bid, peer.bid_hash, peer.appraisal, peer.known) = (None, None, None, None);
                    self.prices[p] = None;
                }
                match self.scenario.workers[p] {
                    Does::SaysNothing => {}
                    Does::OfLaterVersion => {
                        let why = LostWhy::Misbehaved(ResetCode::Incompatible, "a bid of a later version".into());
                        self.later(5, lost(p, why));
                    }
                    _ => self.later(5, Heard::Bid(p)),
                }
            }
            Action::Dispatch { peer: p, seat, among } => {
                self.log(Some(p), What::Dispatch { seat, among });
                self.granted[p] = true;
                self.peers[p].input_bytes = 3_000;
                let ours = if self.scenario.fails {
                    Outcome::Failed {
                        kind: FailureKind::Query,
                        message: "no such column".into(),
                        metering: Metering::default(),
                    }
                } else {
                    result()
                };
                let broke = || LostWhy::Misbehaved(ResetCode::Malformed, "malformed Commit message".into());
                let first =
                    self.timeline.iter().filter(|m| m.peer == Some(p) && matches!(m.what, What::Dispatch { .. }));
                match self.scenario.workers[p] {
                    Does::Dissents => self.later(40, Heard::Commit(p, another(31))),
                    Does::Equivocates(ms) => {
                        self.later(40, Heard::Commit(p, ours));
                        self.later(60 + ms, Heard::Commit(p, another(32)));
                    }
                    Does::LeavesAfter => {
                        self.later(40, Heard::Commit(p, ours));
                        self.later(55, lost(p, gone()));
                    }
                    Does::GivesUp => self.later(40, lost(p, LostWhy::ResetByWorker(ResetCode::Withdrawn))),
                    Does::RefusesOnce if first.count() == 1 => {
                        self.later(5, lost(p, LostWhy::ResetByWorker(ResetCode::OverCapacity)));
                    }
                    Does::Breaks => self.later(30, lost(p, broke())),
                    Does::BreaksAfter => {
                        self.later(40, Heard::Commit(p, ours));
                        self.later(55, lost(p, broke()));
                    }
                    Does::Stalls => {}
                    Does::Late(ms) => {
                        for at in (1_000..ms).step_by(1_000) {
                            self.later(at, Heard::Event(Event::Progress(p)));
                        }
                        self.later(ms, Heard::Commit(p, ours));
                    }
                    _ => self.later(40, Heard::Commit(p, ours)),
                }
            }
            Action::Verify(p) => {
                if !matches!(self.peers[p].commit, Some(Outcome::Completed { .. })) {
                    return;
                }
                self.log(Some(p), What::Quorum);
                match self.scenario.workers[p] {
                    Does::WrongBytes => self.later(20, Heard::WrongBytes(p)),
                    Does::SlowBytes => self.later(20, Heard::SlowBytes(p)),
                    Does::LeavesAfter => {
                        self.later(20, Heard::Event(Event::DeliveryFailed(p, DeliveryFailure::Broken)));
                    }
                    _ => self.later(30, Heard::Event(Event::Delivered(p))),
                }
            }
            Action::Settle(p, verdict, digest) => {
                let Some(price) = self.prices[p] else { return };
                let worker = self.nodes[p].node_id();
                let settle = Settle { offer: self.id, task: self.offer.task, price, worker, verdict, digest };
                let lost = self.scenario.receipts_lost > 0 && self.rng.random_ratio(1, self.scenario.receipts_lost);
                self.peers[p].signed_receipt = (!lost).then(|| self.sign(p, settle));
            }
            Action::Reset(p, code) => self.log(Some(p), What::Reset(ResetCodeWord(code))),
            Action::End(end) => self.end = Some(end),
        }
    }

    fn into_record(self) -> JobRecord {
        let ids: Vec<Option<NodeId>> = self.peers.iter().map(|p| p.node).collect();
        let nodes = |peers: &[usize]| peers.iter().filter_map(|p| ids[*p]).collect::<Vec<_>>();
        let end = self.end.as_ref().unwrap();
        let (outcome, agreed, deliverer) = match end {
            End::Verified { outcome, agreed, deliverer } => (Some(outcome.clone()), nodes(agreed), ids[*deliverer]),
            End::JobFailed { agreed, .. } => {
                let first = self.peers.iter().find(|p| p.node == ids[agreed[0]] && p.commit.is_some());
                (first.unwrap().commit.clone(), nodes(agreed), None)
            }
            _ => (None, vec![], None),
        };
        let mut record = JobRecord {
            job: self.id,
            version: Version::LATEST,
            at: AT,
            offer: hex::encode(&self.payload),
            policy: self.policy.as_ref().map(AttestPolicy::hash),
            requester: self.requester.node_id(),
            engine: self.offer.engine,
            profile: self.offer.profile.clone(),
            class: self.offer.class,
            k: self.terms.k as usize,
            quorum: self.terms.quorum as usize,
            executions: self.terms.executions as usize,
            query: query_hash(&self.task.sql),
            salt: hex::encode(self.task.salt),
            draw: hex::encode(self.terms.seed),
            time_us: self.task.time_us,
            seed: hex::encode(self.task.seed),
            inputs: self.task.inputs.clone(),
            end: JobEnd::from(end),
            reason: String::new(),
            digest: outcome.as_ref().map(Outcome::digest),
            outcome,
            agreed,
            deliverer,
            split: self.job.split().iter().map(|(d, peers)| (*d, nodes(peers))).collect(),
            peers: self.peers,
            timeline: self.timeline,
        };
        for (peer, state) in record.peers.iter_mut().zip(self.job.peers()) {
            peer.fate = Fate::from(state);
            peer.at_fault = peer.fate.is_fault();
            // A receipt is kept only of what was settled.
            if !matches!(state, PeerState::Closed(Closed::Settled(_))) {
                peer.signed_receipt = None;
            }
        }
        record.reason = match end {
            End::InputFailed(why) => why.clone(),
            _ => record.told().unwrap(),
        };
        record
    }
}

fn blake3_of(bytes: &[u8]) -> Hash {
    blake3::hash(bytes).into()
}
