//! Eight signed messages, Progress, and what asks for inputs and engines. Field limits are checked when a message is decoded into use, frame limits before.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Hash, Kind, NodeId, OfferId};

/// A message that is signed.
pub trait Body: Serialize + DeserializeOwned {
    /// Its frame's kind and signing domain.
    const KIND: Kind;
}

/// CBOR with struct fields in order of declaration: the same value always has the same bytes.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("writing to memory cannot fail, and every message has a CBOR form");
    bytes
}

/// Decodes all of `bytes`; anything after the value is an error ([P-FRAME-3]).
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, mut bytes: &[u8]) -> Result<T, DecodeError> {
    let value = ciborium::from_reader(&mut bytes).map_err(|e| of_cbor(kind, &e))?;
    if !bytes.is_empty() {
        return Err(DecodeError::Malformed(kind, format!("{} bytes after the message", bytes.len())));
    }
    Ok(value)
}

/// A variant or field that this version does not know is of a later one; anything else is no message ([P-VER-2]).
fn of_cbor<E: std::fmt::Debug>(kind: Kind, e: &ciborium::de::Error<E>) -> DecodeError {
    let short = |text: &str| text.chars().take(120).collect();
    match e {
        // The words of serde's `unknown_variant` and `unknown_field`; a test holds them.
        ciborium::de::Error::Semantic(_, why)
            if why.starts_with("unknown variant `") || why.starts_with("unknown field `") =>
        {
            DecodeError::Incompatible(kind, short(why))
        }
        other => DecodeError::Malformed(kind, short(&other.to_string())),
    }
}

/// How much a leak of the inputs would hurt; maps to what a worker must prove.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum DataClass {
    /// Anyone may see it.
    Public,
    /// For people the requester knows.
    Internal,
    /// Must not be seen by the worker's operator.
    Sensitive,
}

impl std::fmt::Display for DataClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Sensitive => "sensitive",
        })
    }
}

impl std::str::FromStr for DataClass {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let all = [Self::Public, Self::Internal, Self::Sensitive];
        let named = all.into_iter().find(|class| class.to_string() == word);
        named.ok_or_else(|| format!("{word:?} is not public, internal or sensitive"))
    }
}

/// What a job may use on a worker.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of the sandbox, bytes. Part of what decides the result.
    pub memory: u64,
    /// Bytes of the result stream.
    pub result: u64,
    /// Milliseconds from Dispatch to Commit.
    pub run_ms: u64,
    /// Units of fuel, on a metered profile.
    pub fuel: Option<u64>,
}

/// The size of a job's inputs, before anything of them is named.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct InputsSummary {
    /// Objects.
    pub count: u32,
    /// Bytes of all objects.
    pub bytes: u64,
}

/// What evidence a requester wants of its workers' hardware.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// BLAKE3 of the policy that it will be appraised under; part of what evidence is bound to.
    pub policy: Hash,
    /// Evidence that was made for an earlier offer of this requester will do if it is at most so old, seconds; never if 0.
    pub max_age_s: u32,
}

/// Requester to candidates: what is wanted, without the query or the data.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Who asks; must be the authenticated peer ([P-OFFER-1]).
    pub requester: NodeId,
    /// [`Task::hash`] of what Dispatch will carry: it binds query, manifest, time and seed, and tells nothing of them.
    pub task: Hash,
    /// [`Terms::commitment`]: fixes the seed that seats are drawn with once the bids are in, and what the requester wants.
    pub draw: Hash,
    /// Class of the data.
    pub class: DataClass,
    /// BLAKE3 of the engine component.
    pub engine: Hash,
    /// Id of the profile: every setting that can change a result.
    pub profile: String,
    /// What the job may use.
    pub limits: Limits,
    /// Its inputs.
    pub inputs: InputsSummary,
    /// Evidence that a Bid must carry, if any ([P-ATTEST-1]).
    pub attest: Option<Demand>,
    /// When it was made, seconds since 1970 by the requester's clock.
    pub issued_at: i64,
    /// A Dispatch may come for so long after that, seconds.
    pub valid_s: u32,
    /// Makes the job's id unique, and what evidence is bound to.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
}

impl Offer {
    /// Longest validity, seconds; workers remember an Offer's id for that long.
    pub const VALID_MAX_S: u32 = 86_400;
    /// By so much the clocks of two nodes may differ, seconds.
    pub const SKEW_S: i64 = 300;

    /// The second after which it is not good any more by any clock that is right enough.
    pub fn expires_s(&self) -> i64 {
        self.issued_at.saturating_add(self.valid_s.into()).saturating_add(Self::SKEW_S)
    }

    /// Whether it is good now, by a clock that says `now_s` ([P-OFFER-2]).
    pub fn is_current(&self, now_s: i64) -> bool {
        self.valid_s <= Self::VALID_MAX_S
            && self.issued_at <= now_s.saturating_add(Self::SKEW_S)
            && now_s <= self.expires_s()
    }
}

/// What a requester fixes before there are bids and tells nobody until the job is over: whoever knows that one Commit
/// suffices, or who gets the next seat, can lie at its ease ([P-OFFER-3]).
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// What seats are drawn with. Random: nobody can try terms against their commitment.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// Executions at a time.
    pub k: u64,
    /// Equal commits that make a result.
    pub quorum: u64,
    /// Executions that the job may cause in all.
    pub executions: u64,
    /// BLAKE3 of the attestation policy, also of one that asks for no evidence.
    pub policy: Option<Hash>,
}

impl Terms {
    /// What the Offer says of them: BLAKE3 of a versioned domain string and their CBOR.
    pub fn commitment(&self) -> Hash {
        let mut h = blake3::Hasher::new();
        h.update(b"eider/2 terms\0").update(&encode(self));
        h.finalize().into()
    }
}

/// What a worker that takes the job says.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Milliseconds until it could start.
    pub eta_ms: u64,
    /// Micro-credits for the job; 0 is a gift.
    pub price: u64,
    /// Bytes of donated memory that are free.
    pub free_memory: u64,
    /// Jobs that it could run at once now.
    pub free_jobs: u32,
}

/// Why a worker does not take a job.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum DeclineReason {
    /// It has not this engine.
    Engine,
    /// It does not run this profile.
    Profile,
    /// It does not serve this data class.
    DataClass,
    /// The job is larger than all that it donates.
    TooLarge,
    /// The job would fit, but not now.
    Busy,
    /// It is going down or paused.
    Unavailable,
    /// The Offer is no longer good, or not yet: the clocks may differ.
    Expired,
}

/// A refusal.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// For machines.
    pub reason: DeclineReason,
    /// For people: which number was exceeded.
    pub detail: String,
}

/// Worker to requester: whether and how it would run the job.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Bid {
    /// The job.
    pub offer: OfferId,
    /// Yes or no.
    pub answer: Result<Accept, Decline>,
    /// X25519 key that a Dispatch is to be sealed to ([P-SEAL-1]).
    #[serde(with = "serde_bytes")]
    pub sealing: [u8; 32],
    /// An envelope of evidence, if one was wanted and there is one ([P-ATTEST-1]).
    pub evidence: Option<serde_bytes::ByteBuf>,
}

/// Requester to a worker with a TPM: a credential that only the TPM with both of its keys can open ([P-ATTEST-2]).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The job.
    pub offer: OfferId,
    /// TPM2B_ID_OBJECT.
    #[serde(with = "serde_bytes")]
    pub credential: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET.
    #[serde(with = "serde_bytes")]
    pub secret: Vec<u8>,
}

/// The answer to a [`Challenge`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The job.
    pub offer: OfferId,
    /// What was in the credential.
    #[serde(with = "serde_bytes")]
    pub secret: Vec<u8>,
}

/// File format of an input.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma (or otherwise) separated values.
    Csv,
    /// JSON or newline-delimited JSON.
    Json,
}

impl Format {
    /// The word in SQL and in the engine contract.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// One pinned object of the manifest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct InputEntry {
    /// The table's name in SQL; objects of one table share it.
    pub table: String,
    /// The object's name inside the sandbox.
    pub file: String,
    /// Its format.
    pub format: Format,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its content.
    pub hash: Hash,
}

/// Why a manifest is none.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// A table's name is empty, too long or has other characters.
    #[error(
        "{0:?} cannot name an input: use letters, digits, `_`, `-` and `.`, at most 64 of them, and begin with a letter or `_`"
    )]
    TableName(String),
    /// A file's name is not `<table>/<name>`.
    #[error(
        "{0:?} cannot name a file of an input: it must be the table's name, `/`, and 1 to 255 bytes without `/` and control characters, not `.` or `..`"
    )]
    FileName(String),
    /// A name is used twice.
    #[error("the name {0:?} is used twice")]
    Twice(String),
    /// Two formats in one table.
    #[error("the input {0:?} mixes file formats")]
    Mixed(String),
    /// More entries than a Dispatch may carry.
    #[error("{0} input files, at most {max} fit one job", max = InputEntry::MAX)]
    TooMany(usize),
}

impl InputEntry {
    /// Entries in a manifest: what fits a Dispatch beside the largest query.
    pub const MAX: usize = 10_000;
}

/// Checks names and formats of a manifest; both sides do, before anything is made of it ([P-DISPATCH-2]).
///
/// # Errors
/// [`ManifestError`], the first that is found.
pub fn manifest_check(entries: &[InputEntry]) -> Result<(), ManifestError> {
    if entries.len() > InputEntry::MAX {
        return Err(ManifestError::TooMany(entries.len()));
    }
    let mut files = HashSet::new();
    let mut formats = std::collections::HashMap::new();
    for e in entries {
        let first = e.table.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest = e.table.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !first || !rest || e.table.len() > 64 {
            return Err(ManifestError::TableName(e.table.chars().take(80).collect()));
        }
        let name = e.file.strip_prefix(&e.table).and_then(|f| f.strip_prefix('/'));
        let is_name = |n: &str| !matches!(n, "" | "." | "..") && n.len() <= 255 && !n.contains('/');
        if !name.is_some_and(|n| is_name(n) && !n.chars().any(char::is_control)) {
            return Err(ManifestError::FileName(e.file.chars().take(300).collect()));
        }
        if !files.insert(&e.file) {
            return Err(ManifestError::Twice(e.file.clone()));
        }
        if *formats.entry(e.table.to_ascii_lowercase()).or_insert(e.format) != e.format {
            return Err(ManifestError::Mixed(e.table.clone()));
        }
    }
    Ok(())
}

/// Requester to chosen worker: the task, sealed to the key in its Bid ([P-SEAL-1]).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// The job.
    pub offer: OfferId,
    /// The one worker that this copy is for ([P-DISPATCH-1]).
    pub worker: NodeId,
    /// Encapsulated key (RFC 9180).
    #[serde(with = "serde_bytes")]
    pub enc: [u8; 32],
    /// A [`Task`], as ciphertext.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
}

/// All that, with the engine, decides the result.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The query.
    pub sql: String,
    /// Its inputs.
    pub inputs: Vec<InputEntry>,
    /// What `now()` answers, microseconds since 1970-01-01 UTC.
    pub time_us: i64,
    /// What `random()` is seeded with.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// Random: who knows an Offer cannot try queries against its task hash.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 32],
}

impl Task {
    /// [`TaskOutline::hash`].
    pub fn hash(&self) -> Hash {
        let Self { sql, inputs, time_us, seed, salt } = self;
        TaskOutline { query: query_hash(sql), inputs, time_us: *time_us, seed: *seed, salt: *salt }.hash()
    }
}

/// What a task's hash is made of: whoever keeps no query, but its hash, can still show which task it was.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct TaskOutline<'a> {
    /// [`query_hash`] of the query.
    pub query: Hash,
    /// As in the [`Task`].
    pub inputs: &'a [InputEntry],
    /// As in the [`Task`].
    pub time_us: i64,
    /// As in the [`Task`].
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// As in the [`Task`].
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 32],
}

impl TaskOutline<'_> {
    /// BLAKE3 of a versioned domain string and the outline's CBOR, its salt included ([P-TASK-1]).
    pub fn hash(&self) -> Hash {
        let mut h = blake3::Hasher::new();
        h.update(b"eider/2 task\0").update(&encode(self));
        h.finalize().into()
    }
}

/// BLAKE3 of a versioned domain string and the query's text, by which a node finds its own jobs.
pub fn query_hash(sql: &str) -> Hash {
    let mut h = blake3::Hasher::new();
    h.update(b"eider/2 query\0").update(sql.as_bytes());
    h.finalize().into()
}

/// What a job used; the same on every honest worker.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct Metering {
    /// Units of wasmtime's fuel, on a metered profile.
    pub fuel: Option<u64>,
    /// Bytes that the engine read of its inputs.
    pub bytes_read: u64,
    /// Calls that it made for them.
    pub reads: u64,
    /// Linear memory at the end, bytes.
    pub memory: u64,
}

/// Why a query failed, by the engine's own word.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The query is at fault.
    Query,
    /// It asks for what the sandbox does not have.
    Denied,
    /// An input is not what it claims to be.
    Input,
    /// The job's memory does not suffice.
    Memory,
    /// The engine is at fault.
    Internal,
    /// The engine trapped.
    Trap,
    /// The job's fuel is used up.
    Fuel,
    /// The result is over the job's limit.
    Result,
    /// It reads its inputs too often or too much.
    Reads,
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Query => "the query is at fault",
            Self::Denied => "the sandbox does not have what the query asks for",
            Self::Input => "an input is at fault",
            Self::Memory => "the job's memory does not suffice",
            Self::Internal => "the engine is at fault",
            Self::Trap => "the engine trapped",
            Self::Fuel => "the job's fuel does not suffice",
            Self::Result => "the result is larger than the job allows",
            Self::Reads => "the job reads more than it may",
        })
    }
}

/// How a job ended in the sandbox. A pure function of the job, so honest workers agree on all of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// There is a result.
    Completed {
        /// BLAKE3 of the Arrow IPC stream.
        root: Hash,
        /// Its bytes.
        length: u64,
        /// Its rows.
        rows: u64,
        /// What it took.
        metering: Metering,
    },
    /// The query failed, as it would anywhere.
    Failed {
        /// Whose fault.
        kind: FailureKind,
        /// The engine's message.
        message: String,
        /// What it took until then.
        metering: Metering,
    },
}

impl Outcome {
    /// Bytes of a failure's message that are kept.
    pub const MESSAGE_MAX: usize = 32 << 10;

    /// What workers agree on: BLAKE3 of a domain string and the outcome's CBOR ([P-COMMIT-2]).
    pub fn digest(&self) -> Hash {
        let mut h = blake3::Hasher::new();
        h.update(b"eider/2 outcome\0").update(&encode(self));
        h.finalize().into()
    }
}

/// Worker to requester, before any byte of the result.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The job.
    pub offer: OfferId,
    /// [`Task::hash`] of what was run: with the task, this word convicts or clears by itself.
    pub task: Hash,
    /// Micro-credits, as in the Bid.
    pub price: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where a job stands on a worker.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Waiting for a cell or an engine image.
    Preparing,
    /// The engine runs.
    Running,
}

/// Worker to requester: a sign of life. Unsigned, for it decides nothing.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Where it stands.
    pub stage: Stage,
    /// How much of the query is done, 1/10000.
    pub done: u32,
    /// Bytes read of the inputs.
    pub bytes_read: u64,
}

impl Progress {
    /// The frame's payload.
    pub fn to_payload(&self) -> Vec<u8> {
        encode(self)
    }
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode(Kind::Progress, payload)
    }
}

/// Requester to a worker whose commit agrees: open the result.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The job.
    pub offer: OfferId,
    /// The quorum's root, which must be the worker's own.
    pub root: Hash,
    /// Bytes that the requester has verified already, a multiple of 16 KiB ([P-STREAM-2]).
    pub offset: u64,
}

/// What the requester says of a worker in the end.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Its bytes were the result.
    Delivered,
    /// It was of the quorum, another delivered; or the quorum was for a failure.
    Agreed,
}

/// Both ways, at the end: the requester's verdict, and the worker's receipt of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// The job.
    pub offer: OfferId,
    /// [`Task::hash`] of what was run.
    pub task: Hash,
    /// Micro-credits, as in the Bid.
    pub price: u64,
    /// Who did the work.
    pub worker: NodeId,
    /// What it is said to have done.
    pub verdict: Verdict,
    /// The outcome that was settled, its metering included.
    pub digest: Hash,
}

/// Worker to requester on a stream of its own: part of a granted input ([P-FETCH-1]).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The job that grants it.
    pub offer: OfferId,
    /// Entry of the manifest.
    pub index: u32,
    /// First byte, a multiple of 16 KiB.
    pub start: u64,
    /// Byte after the last; a multiple of 16 KiB or the input's end.
    pub end: u64,
}

impl Fetch {
    /// The frame's payload.
    pub fn to_payload(&self) -> Vec<u8> {
        encode(self)
    }
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode(Kind::Fetch, payload)
    }
}

/// Part of an engine.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum EnginePart {
    /// What is published of it.
    Bundle,
    /// Bytes of the component.
    Component {
        /// First byte, a multiple of 16 KiB.
        start: u64,
        /// Byte after the last: the component's end.
        end: u64,
    },
}

/// Worker to requester on a stream of its own: part of an engine that it has not ([P-ENGINE-1]).
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct EngineFetch {
    /// BLAKE3 of the component.
    pub engine: Hash,
    /// Which part.
    pub part: EnginePart,
}

impl EngineFetch {
    /// The frame's payload.
    pub fn to_payload(&self) -> Vec<u8> {
        encode(self)
    }
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode(Kind::Engine, payload)
    }
}

/// What is published of an engine, which follows as a tree ([P-ENGINE-1]).
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// BLAKE3 of the bundle.
    pub root: Hash,
    /// Its bytes.
    pub length: u64,
}

impl Published {
    /// The frame's payload.
    pub fn to_payload(&self) -> Vec<u8> {
        encode(self)
    }
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode(Kind::Published, payload)
    }
}

macro_rules! signed {
    ($($name:ident),*) => { $(impl Body for $name { const KIND: Kind = Kind::$name; })* };
}
signed!(Offer, Bid, Dispatch, Commit, Verify, Settle, Challenge, Response);
