//! What goes into a job, what comes out of it, and where each candidate stands.

use eider_protocol::{Accept, Decline, Fault, Hash, NodeId, Outcome, ResetCode, Verdict};

use crate::draw::Network;

/// Index of a candidate in the order in which they were given.
pub type Peer = usize;

/// Everybody who ever committed, by what they committed to, largest group first. Who committed twice is in two groups.
pub type Split = Vec<(Hash, Vec<Peer>)>;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection stands, and this is who is at its other end, in this network.
    Connected(Peer, NodeId, Network),
    /// None could be made.
    Unreachable(Peer, String),
    /// The answer to an Offer.
    Bid(Peer, Result<Accept, Decline>),
    /// The answer was yes, and its evidence is being appraised: [`Event::Bid`] or [`Event::Unfit`] follows.
    Appraising(Peer),
    /// Its evidence has to be completed by the candidate, whose time counts again.
    Challenged(Peer),
    /// The answer was yes, and its evidence does not suffice.
    Unfit(Peer, String),
    /// A sign of life between Dispatch and Commit.
    Progress(Peer),
    /// A signed commit.
    Commit(Peer, Outcome),
    /// All bytes of the result came in and are verified.
    Delivered(Peer),
    /// They did not. The delivery is over: nothing more comes of it.
    DeliveryFailed(Peer, DeliveryFailure),
    /// The stream is gone.
    Lost(Peer, LostWhy),
    /// One of the requester's own inputs changed or vanished.
    InputFailed(String),
    /// The user gave up.
    Cancel,
    /// Time passed; see [`Job::next_timeout`](crate::Job::next_timeout).
    Tick,
}

/// Why a delivery ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// Bytes that are not those of the root.
    WrongBytes,
    /// The stream broke.
    Broken,
    /// The network brought too little for too long. The time that the requester's own output takes is not counted.
    Slow,
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
    /// Send the Offer: to a peer that was busy, on a new stream.
    Offer(Peer),
    /// Send the Dispatch.
    Dispatch {
        /// To whom.
        peer: Peer,
        /// Which seat of the job this is, from 0.
        seat: u32,
        /// Among whom it was drawn, with which weights: with the nodes of these, [`seat`](crate::seat) draws the same.
        among: Vec<(Peer, u64)>,
    },
    /// Send Verify, and take the result's bytes from where the verified part ends. Where all of it is there already,
    /// [`Event::Delivered`] follows without a Verify.
    Verify(Peer),
    /// Send the verdict; the stream ends with the worker's receipt.
    Settle(Peer, Verdict, Hash),
    /// Reset the stream with this code, and end a delivery that comes with it.
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
        /// Everyone whose commit to it stands.
        agreed: Vec<Peer>,
        /// Whose bytes were the last.
        deliverer: Peer,
    },
    /// Quorum on a failure of the query.
    JobFailed {
        /// The failure.
        outcome: Outcome,
        /// Who agreed.
        agreed: Vec<Peer>,
    },
    /// No outcome can have quorum any more, or one has it after bytes of another went out.
    NoQuorum {
        /// Who committed to what.
        split: Split,
    },
    /// No outcome can have quorum within the budget of executions.
    ExecutionsSpent {
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
    /// Has bid, and what it shows of its hardware is being appraised: its time is not counted any more.
    Appraising,
    /// Has no room now, and is asked again.
    Busy {
        /// When, ms.
        until: u64,
        /// In its words.
        decline: Decline,
    },
    /// Would run the job.
    Held(Accept),
    /// Runs the job.
    ExpectCommit {
        /// Dispatched at, ms.
        since: u64,
        /// Last sign of life, ms.
        seen: u64,
        /// Much slower than others: a quorum is sought without it, and its commit still counts.
        late: bool,
    },
    /// Has committed, and may be asked to deliver.
    Committed {
        /// Its place in the queue of deliverers.
        order: u64,
        /// To what.
        digest: Hash,
        /// Its stream is gone: the commit counts, but nothing can be delivered.
        gone: bool,
    },
    /// Delivers. More than one may, after a while.
    ExpectResult {
        /// Its place in the queue of deliverers.
        order: u64,
        /// What it committed to.
        digest: Hash,
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
    /// Could not start before the deadline, by its own word: so many ms.
    TooLate(u64),
    /// Has not proven what the job's policy wants.
    Unfit(String),
    /// Its stream went away.
    Lost(LostWhy),
    /// We reset it.
    Reset(ResetCode),
    /// Done, with this verdict.
    Settled(Verdict),
}

impl PeerState {
    /// What a candidate is to blame for, if anything: only a lie that can be shown or a breach of the protocol, never being
    /// slow, silent, unreachable or gone.
    pub fn fault(&self) -> Option<ResetCode> {
        match self {
            Self::Closed(Closed::Reset(code) | Closed::Lost(LostWhy::Misbehaved(code, _))) => {
                Some(*code).filter(|code| code.fault() == Fault::Receiver)
            }
            _ => None,
        }
    }
}

/// What the job as a whole awaits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    ExpectBids,
    ExpectCommits,
    /// The outcome with this digest has quorum.
    ExpectResult(Hash),
    Ended,
}
