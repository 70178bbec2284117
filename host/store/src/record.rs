//! The verification record of a job: who was asked, who said what, and when.

use std::fmt;

use eider_attest::{Appraisal, AttestPolicy};
use eider_core::{Closed, End, LostWhy, PeerState};
use eider_protocol::{
    DataClass, DeclineReason, Hash, InputEntry, NodeId, OfferId, Outcome, ResetCode, Verdict, Version, printable,
    printable_lines,
};
use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// Everything that shows how a job's end came about; `eider query --explain` prints it.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// The job.
    pub job: OfferId,
    /// Version of the protocol that its words are signed for.
    pub version: Version,
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
    /// Executions that it might cause in all.
    pub executions: usize,
    /// Hash of the query.
    pub query: Hash,
    /// What its task was salted with, hexadecimal: query, manifest, time, seed and this have the hash that its Offer names.
    pub salt: String,
    /// What its seats were drawn with, hexadecimal; its Offer commits to it.
    pub draw: String,
    /// Job time, microseconds since 1970.
    pub time_us: i64,
    /// Job seed, hexadecimal.
    pub seed: String,
    /// Manifest.
    pub inputs: Vec<InputEntry>,
    /// How it ended.
    pub end: JobEnd,
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
#[serde(deny_unknown_fields)]
pub struct PeerRecord {
    /// As it was given.
    pub address: String,
    /// Who answered there.
    pub node: Option<NodeId>,
    /// The network that it was met in.
    pub network: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// Whether it is to blame: it lied or broke the protocol.
    pub at_fault: bool,
    /// What it committed to.
    pub commit: Option<Outcome>,
    /// What it claimed and proved of its hardware, where the job wanted to know.
    pub appraisal: Option<Appraisal>,
    /// What the requester knew of evidence when it judged, as far as it bears on this worker: to judge alike again.
    pub known: Option<Memory>,
    /// Its signed Bid, as transmitted, hexadecimal.
    pub signed_bid: Option<String>,
    /// BLAKE3 of the signed Bid's bytes, also where the Bid itself is not kept.
    pub bid_hash: Option<Hash>,
    /// Its signed Commit.
    pub signed_commit: Option<String>,
    /// A second one, which differs: with the first, proof that it equivocated.
    pub second_commit: Option<String>,
    /// Its signed receipt of the Settle.
    pub signed_receipt: Option<String>,
    /// Bytes of inputs served to it.
    pub input_bytes: u64,
}

/// Something that happened.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Milliseconds since the job's start.
    pub ms: f64,
    /// Which candidate.
    pub peer: Option<usize>,
    /// What.
    pub what: What,
}

/// The job's words.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Offer sent.
    Offer,
    /// Bid came.
    Bid,
    /// A credential sent to its TPM.
    Challenge,
    /// Dispatch sent: the seat was drawn among these candidates.
    Dispatch {
        /// Which seat of the job.
        seat: u32,
        /// Whose Bids were held then, and what each weighed.
        among: Vec<(usize, u64)>,
    },
    /// Commit came.
    Commit,
    /// Another Commit came from the same worker.
    SecondCommit,
    /// Enough commits agree; Verify sent.
    Quorum,
    /// The first verified bytes are out.
    FirstByte,
    /// Delivered bytes were wrong.
    WrongBytes,
    /// Bytes came too slowly, and another of the quorum was asked, if there was one.
    SlowDelivery,
    /// Reset sent.
    Reset(ResetCodeWord),
    /// The job is over.
    Done,
}

/// How a job ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum JobEnd {
    /// A quorum agreed, and every byte was checked.
    Verified,
    /// A quorum agrees that the query fails.
    JobFailed,
    /// No outcome can have quorum any more.
    NoQuorum,
    /// The same, since no further execution was allowed.
    ExecutionsSpent,
    /// Too few candidates took the job.
    NoCandidates,
    /// Too few are large enough.
    ExceedsCapacity,
    /// There was a quorum, and nobody of it delivered.
    NoDelivery,
    /// An input of the requester's changed or vanished.
    InputFailed,
    /// The deadline passed.
    DeadlinePassed,
    /// The user gave up.
    Cancelled,
}

impl JobEnd {
    /// Its word, as in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::JobFailed => "job-failed",
            Self::NoQuorum => "no-quorum",
            Self::ExecutionsSpent => "executions-spent",
            Self::NoCandidates => "no-candidates",
            Self::ExceedsCapacity => "exceeds-capacity",
            Self::NoDelivery => "no-delivery",
            Self::InputFailed => "input-failed",
            Self::DeadlinePassed => "deadline-passed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<&End> for JobEnd {
    fn from(end: &End) -> Self {
        match end {
            End::Verified { .. } => Self::Verified,
            End::JobFailed { .. } => Self::JobFailed,
            End::NoQuorum { .. } => Self::NoQuorum,
            End::ExecutionsSpent { .. } => Self::ExecutionsSpent,
            End::NoCandidates => Self::NoCandidates,
            End::ExceedsCapacity => Self::ExceedsCapacity,
            End::NoDelivery { .. } => Self::NoDelivery,
            End::InputFailed(_) => Self::InputFailed,
            End::DeadlinePassed { .. } => Self::DeadlinePassed,
            End::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What became of a candidate. Words of strangers in it are bounded and printable.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Fate {
    /// No connection.
    Unreachable {
        /// Why.
        why: String,
    },
    /// It speaks another version.
    Incompatible {
        /// What it said that is not known here.
        why: String,
    },
    /// The same node as another candidate.
    Duplicate,
    /// It said no.
    Declined {
        /// For machines.
        reason: DeclineReason,
        /// In its words.
        detail: String,
    },
    /// It asked for more than the job pays, micro-credits.
    TooExpensive {
        /// What it asked.
        price: u64,
    },
    /// It could start too late.
    TooLate {
        /// When, milliseconds.
        eta_ms: u64,
    },
    /// It has not proven what the job's policy wants.
    Unfit {
        /// What it proved, and why that is too little.
        why: String,
    },
    /// It reset the job.
    GaveUp {
        /// Why.
        code: ResetCodeWord,
    },
    /// Its stream or connection broke.
    Lost {
        /// How.
        why: String,
    },
    /// It lied or broke the protocol: the only fate that costs anything.
    Caught {
        /// At what.
        code: ResetCodeWord,
        /// What it did, where the code does not say all.
        why: Option<String>,
    },
    /// It was reset, without blame.
    Reset {
        /// Why.
        code: ResetCodeWord,
    },
    /// It was settled with.
    Settled {
        /// As what.
        verdict: Verdict,
    },
    /// The job ended first.
    Open,
}

impl From<&PeerState> for Fate {
    fn from(state: &PeerState) -> Self {
        let short = |words: &str| printable(words, Self::WORDS_MAX);
        let PeerState::Closed(closed) = state else { return Self::Open };
        match closed {
            Closed::Unreachable(why) => Self::Unreachable { why: short(why) },
            Closed::Duplicate(_) => Self::Duplicate,
            Closed::Declined(d) => Self::Declined { reason: d.reason, detail: short(&d.detail) },
            Closed::TooExpensive(price) => Self::TooExpensive { price: *price },
            Closed::TooLate(eta_ms) => Self::TooLate { eta_ms: *eta_ms },
            Closed::Unfit(why) => Self::Unfit { why: printable(why, Self::REASONS_MAX) },
            Closed::Lost(LostWhy::ResetByWorker(code)) => Self::GaveUp { code: ResetCodeWord(*code) },
            Closed::Lost(LostWhy::Disconnected(why)) => Self::Lost { why: short(why) },
            Closed::Lost(LostWhy::Misbehaved(code, why)) if state.fault().is_some() => {
                Self::Caught { code: ResetCodeWord(*code), why: Some(short(why)) }
            }
            Closed::Lost(LostWhy::Misbehaved(_, why)) => Self::Incompatible { why: short(why) },
            Closed::Reset(code) if state.fault().is_some() => Self::Caught { code: ResetCodeWord(*code), why: None },
            Closed::Reset(code) => Self::Reset { code: ResetCodeWord(*code) },
            Closed::Settled(verdict) => Self::Settled { verdict: *verdict },
        }
    }
}

impl Fate {
    /// Characters of a stranger's words that are kept.
    pub const WORDS_MAX: usize = 200;
    /// Characters of the reasons why a worker is unfit.
    pub const REASONS_MAX: usize = 8 * Self::WORDS_MAX;

    /// Why a worker is unfit whose evidence proves less than the policy wants; none if it proves enough.
    pub fn lacking(appraisal: &Appraisal, policy: &AttestPolicy) -> Option<String> {
        let reasons: Vec<_> = appraisal.reasons.iter().map(ToString::to_string).collect();
        let (tier, minimum) = (appraisal.tier, policy.minimum);
        let why = || format!("{tier}, policy {} wants {minimum}; {}", policy.name, reasons.join("; "));
        (tier < minimum).then(why)
    }

    /// Whether it is to blame: it lied or broke the protocol.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { why } => write!(f, "unreachable: {why}"),
            Self::Incompatible { why } => write!(f, "speaks another version: {why}"),
            Self::Duplicate => f.write_str("the same node as another candidate"),
            Self::Declined { detail, .. } => write!(f, "declined: {detail}"),
            Self::TooExpensive { price } => write!(f, "asked {price} micro-credits, more than the job pays"),
            Self::TooLate { eta_ms } => write!(f, "could start in {eta_ms} ms, after the deadline"),
            Self::Unfit { why } => write!(f, "unfit: {why}"),
            Self::GaveUp { code } => write!(f, "gave up: {}", code.0),
            Self::Lost { why } => write!(f, "lost: {why}"),
            Self::Caught { code, why: None } => write!(f, "caught: {}", code.0),
            Self::Caught { code, why: Some(why) } => write!(f, "caught: {} ({why})", code.0),
            Self::Reset { code } => write!(f, "reset: {}", code.0),
            Self::Settled { verdict: Verdict::Delivered } => f.write_str("delivered the result"),
            Self::Settled { verdict: Verdict::Agreed } => f.write_str("agreed"),
            Self::Open => f.write_str("the job ended first"),
        }
    }
}

/// A reset code that serialises as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetCodeWord(pub ResetCode);

impl Serialize for ResetCodeWord {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.word())
    }
}

impl<'de> Deserialize<'de> for ResetCodeWord {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = String::deserialize(d)?;
        let code = ResetCode::from_word(&word).or_else(|| {
            let earlier = SENTENCES.iter().find(|(_, sentence)| *sentence == word);
            earlier.map(|(code, _)| *code)
        });
        code.map(Self).ok_or_else(|| serde::de::Error::custom(format!("{word:?} is no reset code")))
    }
}

/// What stood in records for each code before there were words: fixed, whatever a code's text is now.
const SENTENCES: &[(ResetCode, &str)] = &[
    (ResetCode::Cancelled, "the requester cancelled the job"),
    (ResetCode::QuorumReached, "quorum was reached without this worker"),
    (ResetCode::NotChosen, "other bids were chosen"),
    (ResetCode::DeadlinePassed, "the job's deadline passed"),
    (ResetCode::JobEnded, "the job ended without a result"),
    (ResetCode::Stalled, "no progress for too long"),
    (ResetCode::Dissent, "its commit disagrees with the quorum"),
    (ResetCode::WrongBytes, "its bytes do not match the committed root"),
    (ResetCode::Equivocation, "it committed to two different results"),
    (ResetCode::Malformed, "malformed message"),
    (ResetCode::FrameTooLarge, "frame too large"),
    (ResetCode::UnknownKind, "unknown frame kind"),
    (ResetCode::Unexpected, "message out of order"),
    (ResetCode::BadSignature, "bad signature"),
    (ResetCode::WrongPeer, "message of or for another node"),
    (ResetCode::TaskMismatch, "dispatch does not match its offer"),
    (ResetCode::NotGranted, "input was not granted"),
    (ResetCode::TooMany, "too many requests"),
    (ResetCode::Incompatible, "a value of a later version"),
    (ResetCode::Expired, "the offer has expired"),
    (ResetCode::CellFailed, "the worker's sandbox failed"),
    (ResetCode::ShuttingDown, "the node is shutting down"),
    (ResetCode::OverCapacity, "the worker's capacity was taken meanwhile"),
    (ResetCode::InputUnavailable, "an input could not be had"),
    (ResetCode::InputChanged, "an input changed while the job ran"),
    (ResetCode::TimeLimit, "the job ran out of its time on this worker"),
    (ResetCode::DiskFull, "the worker cannot keep the result"),
    (ResetCode::Withdrawn, "the machine's owner took the donation back"),
];

impl JobRecord {
    /// Candidates of one job: each is dialled, and may send a Bid with evidence.
    pub const PEERS_MAX: usize = 4096;
    /// Moments after which a log keeps those alone that the audit's checks are of: several for each of a thousand candidates.
    pub const MOMENTS_MAX: usize = 50_000;
    /// Moments that a log has at most, beside its end.
    pub const ALL_MOMENTS_MAX: usize = 4 * Self::MOMENTS_MAX;
    /// Bytes of signed Bids that one record keeps. Of the rest it has the hash.
    pub const BIDS_MAX: usize = 16 << 20;

    /// How the job ended, in words that follow from the rest of the record; none if only its requester can say it. The words are
    /// fixed: audits of earlier records compare with them.
    pub fn told(&self) -> Option<String> {
        let (k, q, agreed) = (self.k, self.quorum, self.agreed.len());
        let groups: Vec<_> = self.split.iter().map(|(d, nodes)| format!("{} for {}", nodes.len(), d.short())).collect();
        let groups = if groups.is_empty() { "nobody committed".into() } else { groups.join(", ") };
        Some(match self.end {
            JobEnd::Verified => {
                format!("{agreed} workers agreed, {q} of {k} were asked for; every byte checked")
            }
            JobEnd::JobFailed => {
                let Some(Outcome::Failed { kind, message, .. }) = &self.outcome else { return None };
                let message = printable_lines(message, Outcome::MESSAGE_MAX);
                format!("{agreed} workers agree that the query fails; {kind}.\n{message}")
            }
            JobEnd::NoQuorum => {
                format!("{q} equal commits were needed and cannot come any more: {groups}")
            }
            JobEnd::ExecutionsSpent => format!(
                "{q} equal commits were needed, and all {} executions that the job may cause were used: {groups}; more are allowed with --executions",
                self.executions
            ),
            JobEnd::NoCandidates => format!("fewer than {q} candidates took the job"),
            JobEnd::ExceedsCapacity => format!("no {q} candidates are large enough for the job"),
            JobEnd::NoDelivery => "there was a quorum, but nobody of it delivered the bytes".into(),
            JobEnd::InputFailed => return None,
            JobEnd::DeadlinePassed => {
                let commits: usize = self.split.iter().map(|(_, nodes)| nodes.len()).sum();
                format!("the deadline passed with {commits} commits and no quorum of {q}")
            }
            JobEnd::Cancelled => "the job was cancelled".into(),
        })
    }

    /// When something first happened, ms since the start.
    pub fn first(&self, what: impl Fn(&What) -> bool) -> Option<f64> {
        self.timeline.iter().find(|m| what(&m.what)).map(|m| m.ms)
    }

    /// How long the job took, ms.
    pub fn took_ms(&self) -> f64 {
        self.timeline.last().map_or(0.0, |m| m.ms)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_its_word_and_read_also_from_the_sentence_of_earlier_records() {
        for code in ResetCode::ALL {
            let json = serde_json::to_string(&ResetCodeWord(*code)).unwrap();
            assert_eq!(json, format!("{:?}", code.word()));
            assert_eq!(serde_json::from_str::<ResetCodeWord>(&json).unwrap(), ResetCodeWord(*code));
        }
        for (code, sentence) in SENTENCES {
            let read: ResetCodeWord = serde_json::from_value((*sentence).into()).unwrap();
            assert_eq!(read, ResetCodeWord(*code));
        }
        assert!(serde_json::from_str::<ResetCodeWord>("\"no such code\"").is_err());
    }
}
