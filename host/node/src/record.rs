//! The verification record of a job: who was asked, who said what, and when.

use crate::attest::Memory;
use eider_attest::Appraisal;
use eider_core::{Closed, End, LostWhy, PeerState, Plan};
use eider_protocol::{DataClass, Fault, Hash, InputEntry, NodeId, OfferId, Outcome, ResetCode, Verdict};
use serde::{Deserialize, Serialize};

/// Everything that shows how a job's end came about; `eider query --explain` prints it.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct JobRecord {
    /// The job.
    pub job: OfferId,
    /// When it was offered, seconds since 1970.
    pub at: i64,
    /// The signed Offer, as transmitted, hexadecimal.
    pub offer: String,
    /// BLAKE3 of the attestation policy that its workers had to satisfy.
    pub policy: Option<Hash>,
    /// Who asked.
    pub requester: NodeId,
    /// Engine component.
    pub engine: Hash,
    /// Profile.
    pub profile: String,
    /// Class of the data.
    pub class: DataClass,
    /// Executions asked for.
    pub k: usize,
    /// Equal commits asked for.
    pub quorum: usize,
    /// Hash of the query.
    pub query: Hash,
    /// Job time, microseconds since 1970.
    pub time_us: i64,
    /// Job seed, hexadecimal.
    pub seed: String,
    /// Manifest.
    pub inputs: Vec<InputEntry>,
    /// `verified`, or the typed end.
    pub end: String,
    /// In words.
    pub reason: String,
    /// What was agreed on.
    pub outcome: Option<Outcome>,
    /// Its digest, which the agreeing commits have in common.
    pub digest: Option<Hash>,
    /// Who agreed before quorum.
    pub agreed: Vec<NodeId>,
    /// Whose bytes were delivered last.
    pub deliverer: Option<NodeId>,
    /// Who committed to what, largest group first.
    pub split: Vec<(Hash, Vec<NodeId>)>,
    /// All candidates.
    pub peers: Vec<PeerRecord>,
    /// In order of time.
    pub timeline: Vec<Moment>,
}

/// One candidate's part.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct PeerRecord {
    /// As it was given.
    pub address: String,
    /// Who answered there.
    pub node: Option<NodeId>,
    /// What became of it.
    pub fate: String,
    /// Whether it is to blame: it lied, broke the protocol or stalled.
    pub at_fault: bool,
    /// What it committed to.
    pub commit: Option<Outcome>,
    /// What it claimed and proved of its hardware, where the job wanted to know.
    pub appraisal: Option<Appraisal>,
    /// What the requester knew of evidence when it judged, as far as it bears on this worker: to judge alike again.
    pub known: Option<Memory>,
    /// Its signed Bid, as transmitted, hexadecimal.
    pub signed_bid: Option<String>,
    /// Its signed Commit.
    pub signed_commit: Option<String>,
    /// Its signed receipt of the Settle.
    pub signed_receipt: Option<String>,
    /// Bytes of inputs served to it.
    pub input_bytes: u64,
}

/// Something that happened.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Milliseconds since the job's start.
    pub ms: f64,
    /// Which candidate.
    pub peer: Option<usize>,
    /// What.
    pub what: What,
}

/// The job's words.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Offer sent.
    Offer,
    /// Bid came.
    Bid,
    /// A credential sent to its TPM.
    Challenge,
    /// Dispatch sent.
    Dispatch,
    /// Commit came.
    Commit,
    /// Enough commits agree; Verify sent.
    Quorum,
    /// The first verified bytes are out.
    FirstByte,
    /// Delivered bytes were wrong.
    WrongBytes,
    /// Reset sent.
    Reset(ResetCodeWord),
    /// The job is over.
    Done,
}

/// A reset code that serialises as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetCodeWord(pub ResetCode);

impl Serialize for ResetCodeWord {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ResetCodeWord {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = String::deserialize(d)?;
        let code = ResetCode::ALL.iter().find(|c| c.to_string() == word);
        code.map(|c| Self(*c)).ok_or_else(|| serde::de::Error::custom(format!("{word:?} is no reset code")))
    }
}

impl JobRecord {
    /// When something first happened, ms since the start.
    pub fn first(&self, what: What) -> Option<f64> {
        self.timeline.iter().find(|m| m.what == what).map(|m| m.ms)
    }
}

/// What became of a candidate, and whether it is to blame.
pub(crate) fn fate(state: &PeerState) -> (String, bool) {
    match state {
        PeerState::Closed(Closed::Unreachable(why)) => (format!("unreachable: {why}"), false),
        PeerState::Closed(Closed::Duplicate(_)) => ("the same node as another candidate".into(), false),
        PeerState::Closed(Closed::Declined(d)) => (format!("declined: {}", d.detail), false),
        PeerState::Closed(Closed::TooExpensive(price)) => {
            (format!("asked {price} micro-credits, more than the job pays"), false)
        }
        PeerState::Closed(Closed::Unfit(why)) => (format!("unfit: {why}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::ResetByWorker(code))) => (format!("gave up: {code}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::Disconnected(why))) => (format!("lost: {why}"), false),
        PeerState::Closed(Closed::Lost(LostWhy::Misbehaved(code, why))) => (format!("caught: {code} ({why})"), true),
        PeerState::Closed(Closed::Reset(code)) if code.fault() == Fault::Receiver => (format!("caught: {code}"), true),
        PeerState::Closed(Closed::Reset(code)) => (format!("reset: {code}"), false),
        PeerState::Closed(Closed::Settled(Verdict::Delivered)) => ("delivered the result".into(), false),
        PeerState::Closed(Closed::Settled(Verdict::Agreed)) => ("agreed".into(), false),
        other => (format!("{other:?}"), false),
    }
}

pub(crate) fn end_words(end: &End, plan: &Plan) -> (&'static str, String) {
    let (k, q) = (plan.k, plan.quorum);
    match end {
        End::Verified { agreed, .. } => {
            ("verified", format!("{} workers agreed, {q} of {k} were asked for; every byte checked", agreed.len()))
        }
        End::JobFailed { kind, message, agreed } => {
            ("job-failed", format!("{} workers agree that the query fails; {kind}.\n{message}", agreed.len()))
        }
        End::NoQuorum { split } => {
            let groups: Vec<_> = split.iter().map(|(d, peers)| format!("{} for {}", peers.len(), d.short())).collect();
            let groups = if groups.is_empty() { "nobody committed".into() } else { groups.join(", ") };
            ("no-quorum", format!("{q} equal commits were needed and cannot come any more: {groups}"))
        }
        End::NoCandidates => ("no-candidates", format!("fewer than {q} candidates took the job")),
        End::ExceedsCapacity => {
            ("exceeds-capacity", "no {q} candidates are large enough for the job".replace("{q}", &q.to_string()))
        }
        End::NoDelivery { .. } => ("no-delivery", "there was a quorum, but nobody of it delivered the bytes".into()),
        End::InputFailed(why) => ("input-failed", why.clone()),
        End::DeadlinePassed { split } => {
            let commits: usize = split.iter().map(|(_, peers)| peers.len()).sum();
            ("deadline-passed", format!("the deadline passed with {commits} commits and no quorum of {q}"))
        }
        End::Cancelled => ("cancelled", "the job was cancelled".into()),
    }
}
