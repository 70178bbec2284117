//! The requester's side of one job.
//!
//! Every candidate is in one [`PeerState`], named for what it awaits. The job as a whole moves from bids to commits to
//! the result; [`Job::advance`] looks at all peers after every event and decides what follows. A peer that fails at any
//! point is closed with its reason and, where a spare bid is held, replaced.

use std::collections::{BTreeMap, VecDeque};

use eider_protocol::{Accept, Decline, DeclineReason, FailureKind, Hash, NodeId, Outcome, ResetCode, Verdict};

use crate::{Plan, PlanError};

/// Beside twice the time of the first commit, a worker has this long before a spare runs the job too.
const LATE_GRACE_MS: u64 = 500;

/// Index of a candidate in the order in which they were given.
pub type Peer = usize;

/// Groups of workers by what they committed to, largest first.
pub type Split = Vec<(Hash, Vec<Peer>)>;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection stands, and this is who is at its other end.
    Connected(Peer, NodeId),
    /// None could be made.
    Unreachable(Peer, String),
    /// The answer to an Offer.
    Bid(Peer, Result<Accept, Decline>),
    /// The answer was yes, and its evidence does not suffice.
    Unfit(Peer, String),
    /// A sign of life between Dispatch and Commit.
    Progress(Peer),
    /// A signed commit.
    Commit(Peer, Outcome),
    /// Verified bytes of the result came in.
    Bytes(Peer),
    /// All bytes of the result came in and are verified.
    Delivered(Peer),
    /// They did not.
    DeliveryFailed(Peer, DeliveryFailure),
    /// The stream is gone.
    Lost(Peer, LostWhy),
    /// One of the requester's own inputs changed or vanished.
    InputFailed(String),
    /// The user gave up.
    Cancel,
    /// Time passed; see [`Job::next_timeout`].
    Tick,
}

/// Why a delivery ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// Bytes that are not those of the root.
    WrongBytes,
    /// The stream broke.
    Broken,
}

/// Why a stream is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostWhy {
    /// The worker reset it with this code.
    ResetByWorker(ResetCode),
    /// The connection broke.
    Disconnected(String),
    /// The worker broke the protocol: it is to be reset with this code.
    Misbehaved(ResetCode, String),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the Offer.
    Offer(Peer),
    /// Send the Dispatch.
    Dispatch(Peer),
    /// Send Verify, and take the result's bytes from where the verified part ends.
    Verify(Peer),
    /// Send the verdict; the stream ends with the worker's receipt.
    Settle(Peer, Verdict, Hash),
    /// Reset the stream with this code.
    Reset(Peer, ResetCode),
    /// The job is over. Always the last action.
    End(End),
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Quorum on one outcome, all its bytes delivered and verified.
    Verified {
        /// The outcome.
        outcome: Outcome,
        /// Everyone who committed to it before quorum.
        agreed: Vec<Peer>,
        /// Whose bytes were the last.
        deliverer: Peer,
    },
    /// Quorum on a failure of the query.
    JobFailed {
        /// Whose fault.
        kind: FailureKind,
        /// The engine's message.
        message: String,
        /// Who agreed.
        agreed: Vec<Peer>,
    },
    /// No outcome can have quorum any more.
    NoQuorum {
        /// Who committed to what.
        split: Split,
    },
    /// Too few candidates answered or took the job.
    NoCandidates,
    /// Too few candidates are large enough for it.
    ExceedsCapacity,
    /// Quorum, but nobody who agreed delivered the bytes.
    NoDelivery {
        /// The outcome nobody delivered.
        digest: Hash,
    },
    /// An input of the requester's changed or vanished.
    InputFailed(String),
    /// The deadline passed.
    DeadlinePassed {
        /// Who had committed to what.
        split: Split,
    },
    /// The user gave up.
    Cancelled,
}

/// Where a candidate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerState {
    /// Being dialled.
    ExpectConnection,
    /// Has the Offer.
    ExpectBid,
    /// Would run the job.
    Held(Accept),
    /// Runs the job.
    ExpectCommit {
        /// Dispatched at, ms.
        since: u64,
        /// Last sign of life, ms.
        seen: u64,
        /// Much slower than the first to commit: a spare runs the job too.
        late: bool,
    },
    /// Has committed; `order` counts commits.
    Committed {
        /// Position among all commits.
        order: u64,
        /// To what.
        digest: Hash,
        /// Its stream is gone: the commit counts, but nothing can be delivered.
        gone: bool,
    },
    /// Delivers; the time of its last bytes.
    ExpectResult {
        /// Position among all commits.
        order: u64,
        /// What it committed to.
        digest: Hash,
        /// Last bytes, ms.
        seen: u64,
    },
    /// Out of the job.
    Closed(Closed),
}

/// Why a candidate is out of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// No connection.
    Unreachable(String),
    /// The same node as another candidate.
    Duplicate(Peer),
    /// Said no.
    Declined(Decline),
    /// Asked for more than the plan pays.
    TooExpensive(u64),
    /// Has not proven what the job's policy wants.
    Unfit(String),
    /// Its stream went away.
    Lost(LostWhy),
    /// We reset it.
    Reset(ResetCode),
    /// Done, with this verdict.
    Settled(Verdict),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    ExpectBids,
    ExpectCommits,
    ExpectResult(Hash),
    Ended,
}

/// The state of one job at its requester.
#[derive(Debug)]
pub struct Job {
    plan: Plan,
    started: u64,
    phase: Phase,
    peers: Vec<PeerState>,
    nodes: Vec<Option<NodeId>>,
    /// Commits of each digest, by order; stays when a peer leaves.
    commits: BTreeMap<Hash, (Outcome, Vec<Peer>)>,
    committed: u64,
    /// Milliseconds from Dispatch to Commit of the first to commit.
    first_commit_ms: Option<u64>,
    actions: VecDeque<Action>,
}

impl Job {
    /// A job that starts at `now` (milliseconds of any clock that only moves forward), for `candidates` peers that are
    /// being dialled.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(plan: Plan, candidates: usize, now: u64) -> Result<Self, PlanError> {
        plan.check()?;
        let mut job = Self {
            plan,
            started: now,
            phase: Phase::ExpectBids,
            peers: vec![PeerState::ExpectConnection; candidates],
            nodes: vec![None; candidates],
            commits: BTreeMap::new(),
            committed: 0,
            first_commit_ms: None,
            actions: VecDeque::new(),
        };
        job.advance(now);
        Ok(job)
    }

    /// What to do next, until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// States of all peers, by index.
    pub fn peers(&self) -> &[PeerState] {
        &self.peers
    }

    /// Whether [`Action::End`] was given.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Who committed to what so far, largest group first.
    pub fn split(&self) -> Split {
        let mut split: Split = self.commits.iter().map(|(d, (_, peers))| (*d, peers.clone())).collect();
        split.sort_by_key(|(_, peers)| std::cmp::Reverse(peers.len()));
        split
    }

    /// When [`Event::Tick`] is due if nothing else happens.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.is_ended() {
            return None;
        }
        let mut next = self.started + self.plan.deadline_ms;
        let bids_end = self.started + self.plan.bid_timeout_ms;
        if self.phase == Phase::ExpectBids {
            next = next.min(bids_end);
            if self.count(|s| matches!(s, PeerState::Held(_))) >= self.plan.k {
                next = next.min(self.started + self.plan.bid_window_ms);
            }
        }
        for state in &self.peers {
            match state {
                PeerState::ExpectConnection | PeerState::ExpectBid => next = next.min(bids_end),
                PeerState::ExpectCommit { since, seen, late } => {
                    next = next.min(seen + self.plan.stall_ms);
                    if let Some(patience) = self.patience_ms().filter(|_| !late && self.phase == Phase::ExpectCommits) {
                        next = next.min(since + patience);
                    }
                }
                PeerState::ExpectResult { seen, .. } => next = next.min(seen + self.plan.stall_ms),
                _ => {}
            }
        }
        Some(next)
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: u64, event: Event) {
        if self.is_ended() {
            return;
        }
        match event {
            Event::Connected(p, node) => self.connected(p, node),
            Event::Unreachable(p, why) => self.close(p, Closed::Unreachable(why)),
            Event::Bid(p, answer) => self.bid(p, answer),
            Event::Unfit(p, why) => {
                if self.peers[p] == PeerState::ExpectBid {
                    self.actions.push_back(Action::Reset(p, ResetCode::NotChosen));
                    self.close(p, Closed::Unfit(why));
                }
            }
            Event::Progress(p) => {
                if let PeerState::ExpectCommit { seen, .. } = &mut self.peers[p] {
                    *seen = now;
                }
            }
            Event::Commit(p, outcome) => self.commit(now, p, outcome),
            Event::Bytes(p) => {
                if let PeerState::ExpectResult { seen, .. } = &mut self.peers[p] {
                    *seen = now;
                }
            }
            Event::Delivered(p) => self.delivered(p),
            Event::DeliveryFailed(p, DeliveryFailure::WrongBytes) => self.reset(p, ResetCode::WrongBytes),
            Event::DeliveryFailed(p, DeliveryFailure::Broken) => {
                self.close(p, Closed::Lost(LostWhy::Disconnected("the delivery broke off".into())));
            }
            Event::Lost(p, why) => self.lost(p, why),
            Event::InputFailed(why) => self.end(End::InputFailed(why), ResetCode::InputChanged),
            Event::Cancel => self.end(End::Cancelled, ResetCode::Cancelled),
            Event::Tick => self.time_out(now),
        }
        self.advance(now);
    }

    fn connected(&mut self, p: Peer, node: NodeId) {
        if self.peers[p] != PeerState::ExpectConnection {
            return;
        }
        if let Some(other) = self.nodes.iter().position(|n| *n == Some(node)) {
            return self.close(p, Closed::Duplicate(other));
        }
        self.nodes[p] = Some(node);
        self.peers[p] = PeerState::ExpectBid;
        self.actions.push_back(Action::Offer(p));
    }

    fn bid(&mut self, p: Peer, answer: Result<Accept, Decline>) {
        if self.peers[p] != PeerState::ExpectBid {
            return self.misbehaved(p);
        }
        match answer {
            Err(decline) => self.close(p, Closed::Declined(decline)),
            Ok(bid) if bid.price > self.plan.max_price => {
                self.actions.push_back(Action::Reset(p, ResetCode::NotChosen));
                self.peers[p] = PeerState::Closed(Closed::TooExpensive(bid.price));
            }
            Ok(bid) => self.peers[p] = PeerState::Held(bid),
        }
    }

    fn commit(&mut self, now: u64, p: Peer, outcome: Outcome) {
        let digest = outcome.digest();
        match &self.peers[p] {
            PeerState::ExpectCommit { since, .. } => {
                self.first_commit_ms.get_or_insert(now.saturating_sub(*since));
            }
            PeerState::Committed { digest: d, .. } | PeerState::ExpectResult { digest: d, .. } => {
                let code = if *d == digest { ResetCode::Unexpected } else { ResetCode::Equivocation };
                // Both commits are void: a liar's vote for either must not count.
                let d = *d;
                if code == ResetCode::Equivocation && self.phase == Phase::ExpectCommits {
                    self.withdraw(p, d);
                }
                return self.reset(p, code);
            }
            PeerState::Closed(_) => return,
            _ => return self.misbehaved(p),
        }
        if let Phase::ExpectResult(wanted) = self.phase
            && wanted != digest
        {
            return self.reset(p, ResetCode::Dissent);
        }
        self.committed += 1;
        self.commits.entry(digest).or_insert_with(|| (outcome, Vec::new())).1.push(p);
        self.peers[p] = PeerState::Committed { order: self.committed, digest, gone: false };
        self.check_quorum();
    }

    fn withdraw(&mut self, p: Peer, digest: Hash) {
        if let Some((_, peers)) = self.commits.get_mut(&digest) {
            peers.retain(|q| *q != p);
            if peers.is_empty() {
                self.commits.remove(&digest);
            }
        }
    }

    fn check_quorum(&mut self) {
        if self.phase != Phase::ExpectCommits {
            return;
        }
        let Some((digest, (outcome, agreed))) =
            self.commits.iter().find(|(_, (_, peers))| peers.len() >= self.plan.quorum)
        else {
            return;
        };
        let (digest, outcome, agreed) = (*digest, outcome.clone(), agreed.clone());
        for p in 0..self.peers.len() {
            match self.peers[p] {
                PeerState::ExpectConnection => self.close(p, Closed::Reset(ResetCode::QuorumReached)),
                PeerState::ExpectBid | PeerState::ExpectCommit { .. } => self.reset(p, ResetCode::QuorumReached),
                PeerState::Committed { digest: d, .. } if d != digest => self.reset(p, ResetCode::Dissent),
                _ => {}
            }
        }
        match outcome {
            Outcome::Completed { .. } => self.phase = Phase::ExpectResult(digest),
            Outcome::Failed { kind, message } => {
                self.settle(digest, None);
                self.end(End::JobFailed { kind, message, agreed }, ResetCode::JobEnded);
            }
        }
    }

    fn delivered(&mut self, p: Peer) {
        let PeerState::ExpectResult { digest, .. } = self.peers[p] else { return };
        let Some((outcome, agreed)) = self.commits.get(&digest).cloned() else { return };
        self.settle(digest, Some(p));
        self.end(End::Verified { outcome, agreed, deliverer: p }, ResetCode::QuorumReached);
    }

    /// Verdicts for all whose commit was the quorum's and whose stream stands.
    fn settle(&mut self, digest: Hash, deliverer: Option<Peer>) {
        for p in 0..self.peers.len() {
            let verdict = match self.peers[p] {
                PeerState::ExpectResult { .. } if deliverer == Some(p) => Verdict::Delivered,
                PeerState::Committed { digest: d, gone: false, .. } if d == digest => Verdict::Agreed,
                _ => continue,
            };
            self.actions.push_back(Action::Settle(p, verdict, digest));
            self.peers[p] = PeerState::Closed(Closed::Settled(verdict));
        }
    }

    fn lost(&mut self, p: Peer, why: LostWhy) {
        if let LostWhy::Misbehaved(code, _) = why {
            if matches!(self.peers[p], PeerState::Closed(_)) {
                return;
            }
            self.actions.push_back(Action::Reset(p, code));
            // Its commit is void: who breaks the protocol does not vote.
            if let PeerState::Committed { digest, .. } = self.peers[p]
                && self.phase == Phase::ExpectCommits
            {
                self.withdraw(p, digest);
            }
            self.peers[p] = PeerState::Closed(Closed::Lost(why));
            return;
        }
        match &mut self.peers[p] {
            PeerState::Closed(_) => {}
            // A signed commit counts even when its maker is gone; it just cannot deliver.
            PeerState::Committed { gone, .. } => *gone = true,
            _ => self.close(p, Closed::Lost(why)),
        }
    }

    fn time_out(&mut self, now: u64) {
        if now >= self.started + self.plan.deadline_ms {
            return self.end(End::DeadlinePassed { split: self.split() }, ResetCode::DeadlinePassed);
        }
        for p in 0..self.peers.len() {
            match self.peers[p] {
                PeerState::ExpectConnection if now >= self.started + self.plan.bid_timeout_ms => {
                    self.close(p, Closed::Unreachable(format!("no connection within {} ms", self.plan.bid_timeout_ms)));
                }
                PeerState::ExpectBid if now >= self.started + self.plan.bid_timeout_ms => {
                    self.reset(p, ResetCode::Stalled)
                }
                PeerState::ExpectCommit { seen, .. } | PeerState::ExpectResult { seen, .. }
                    if now >= seen + self.plan.stall_ms =>
                {
                    self.reset(p, ResetCode::Stalled);
                }
                _ => {}
            }
        }
    }

    /// Looks at all peers and does what follows.
    fn advance(&mut self, now: u64) {
        match self.phase {
            Phase::ExpectBids => self.advance_bids(now),
            Phase::ExpectCommits => self.advance_commits(now),
            Phase::ExpectResult(digest) => self.advance_result(now, digest),
            Phase::Ended => {}
        }
    }

    fn advance_bids(&mut self, now: u64) {
        let held = self.count(|s| matches!(s, PeerState::Held(_)));
        let pending = self.pending();
        if pending > 0 && (held < self.plan.k || now < self.started + self.plan.bid_window_ms) {
            return;
        }
        if held < self.plan.quorum {
            return self.end(self.too_few(), ResetCode::JobEnded);
        }
        self.phase = Phase::ExpectCommits;
        self.advance_commits(now);
    }

    /// Running longer than this, while another has long committed, is late.
    fn patience_ms(&self) -> Option<u64> {
        self.first_commit_ms.map(|first| 2 * first + LATE_GRACE_MS)
    }

    fn advance_commits(&mut self, now: u64) {
        if let Some(patience) = self.patience_ms() {
            for state in &mut self.peers {
                if let PeerState::ExpectCommit { since, late, .. } = state {
                    *late |= now >= *since + patience;
                }
            }
        }
        loop {
            let running = self.count(|s| matches!(s, PeerState::ExpectCommit { .. }));
            let in_time = self.count(|s| matches!(s, PeerState::ExpectCommit { late: false, .. }));
            let best = self.commits.values().map(|(_, peers)| peers.len()).max().unwrap_or(0);
            // Commits that disagree with the largest group, and workers that are late, are replaced like those that
            // left: k executions are always on their way to one result.
            if best + in_time < self.plan.k && self.dispatch_next(now) {
                continue;
            }
            if best + running + self.pending() < self.plan.quorum {
                self.end(End::NoQuorum { split: self.split() }, ResetCode::JobEnded);
            }
            return;
        }
    }

    /// There is a deliverer, or somebody on the way to become one, or the job ends.
    fn advance_result(&mut self, now: u64, digest: Hash) {
        if self.count(|s| matches!(s, PeerState::ExpectResult { .. })) > 0 {
            return;
        }
        let next = (0..self.peers.len())
            .filter_map(|p| match self.peers[p] {
                PeerState::Committed { order, digest: d, gone: false } if d == digest => Some((order, p)),
                _ => None,
            })
            .min();
        if let Some((order, p)) = next {
            self.peers[p] = PeerState::ExpectResult { order, digest, seen: now };
            self.actions.push_back(Action::Verify(p));
            return;
        }
        let running = self.count(|s| matches!(s, PeerState::ExpectCommit { .. }));
        if running == 0 && !self.dispatch_next(now) {
            self.end(End::NoDelivery { digest }, ResetCode::JobEnded);
        }
    }

    /// Dispatches to the best held bid.
    fn dispatch_next(&mut self, now: u64) -> bool {
        let best = (0..self.peers.len())
            .filter_map(|p| match &self.peers[p] {
                PeerState::Held(bid) => Some((self.plan.rank(bid), p)),
                _ => None,
            })
            .min();
        let Some((_, p)) = best else { return false };
        self.peers[p] = PeerState::ExpectCommit { since: now, seen: now, late: false };
        self.actions.push_back(Action::Dispatch(p));
        true
    }

    fn too_few(&self) -> End {
        let too_small =
            self.count(|s| matches!(s, PeerState::Closed(Closed::Declined(d)) if d.reason == DeclineReason::TooLarge));
        let others = self.count(|s| matches!(s, PeerState::Held(_)));
        if too_small > 0 && too_small + others >= self.plan.quorum { End::ExceedsCapacity } else { End::NoCandidates }
    }

    fn end(&mut self, end: End, code: ResetCode) {
        if self.is_ended() {
            return;
        }
        self.phase = Phase::Ended;
        for p in 0..self.peers.len() {
            match self.peers[p] {
                PeerState::Closed(_) => {}
                PeerState::ExpectConnection => self.close(p, Closed::Reset(code)),
                PeerState::Held(_) => self.reset(p, ResetCode::NotChosen),
                PeerState::Committed { gone: true, .. } => {
                    self.close(p, Closed::Lost(LostWhy::Disconnected("it left after its commit".into())));
                }
                _ => self.reset(p, code),
            }
        }
        self.actions.push_back(Action::End(end));
    }

    fn misbehaved(&mut self, p: Peer) {
        if !matches!(self.peers[p], PeerState::Closed(_)) {
            self.reset(p, ResetCode::Unexpected);
        }
    }

    fn reset(&mut self, p: Peer, code: ResetCode) {
        self.actions.push_back(Action::Reset(p, code));
        self.close(p, Closed::Reset(code));
    }

    fn close(&mut self, p: Peer, why: Closed) {
        self.peers[p] = PeerState::Closed(why);
    }

    fn pending(&self) -> usize {
        self.count(|s| matches!(s, PeerState::ExpectConnection | PeerState::ExpectBid))
    }

    fn count(&self, which: impl Fn(&PeerState) -> bool) -> usize {
        self.peers.iter().filter(|s| which(s)).count()
    }
}
