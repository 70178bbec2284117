//! The verification record of a job: who was asked, who said what, and when.

use crate::memory::Memory;
use eider_attest::Appraisal;
use eider_protocol::{DataClass, Hash, InputEntry, NodeId, OfferId, Outcome, ResetCode};
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
