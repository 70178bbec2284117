//! What a cell and its parent say over their socket pair: one byte of kind, four of length (little endian), payload.
//! Input ranges do not go through it: the parent puts them into the window, memory that both have, and says so.
//!
//! The parent treats all of it as hostile: lengths are bounded before anything is allocated.

use serde::{Deserialize, Serialize};

use crate::jail::Walls;
use crate::limits;

/// Largest payload either way: one read or write of the engine contract (16 MiB) and a little.
pub(crate) const PAYLOAD_MAX: usize = limits::CALL_BYTES + 64;
/// Bytes before a payload.
pub(crate) const HEADER: usize = 5;

/// A job as a cell sees it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// The statements.
    pub sql: String,
    /// What `now()` answers, microseconds since 1970.
    pub time_us: i64,
    /// Seed of all randomness.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
    /// Linear memory that the engine may have, bytes.
    pub memory: u64,
    /// Bytes that its result may have.
    pub result: u64,
    /// Fuel that it may use, on a metered image.
    pub fuel: Option<u64>,
    /// What it may read.
    pub inputs: Vec<Input>,
}

impl JobSpec {
    /// Bytes that it may read in all.
    pub(crate) fn may_read(&self) -> u64 {
        let all = self.inputs.iter().fold(0u64, |sum, i| sum.saturating_add(i.size));
        all.saturating_mul(limits::READ_FACTOR)
    }
}

/// A granted input.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Name of the table.
    pub table: String,
    /// Name of the object inside.
    pub file: String,
    /// `parquet`, `csv` or `json`.
    pub format: String,
    /// Bytes.
    pub size: u64,
}

/// What a run took, deterministically.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Fuel, on a metered image.
    pub fuel: Option<u64>,
    /// Linear memory at the end, bytes.
    pub memory: u64,
}

/// Kinds of failure that an engine or its run can have.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailKind {
    /// The query.
    Query,
    /// What the sandbox lacks.
    Denied,
    /// An input.
    Input,
    /// Memory.
    Memory,
    /// The engine.
    Internal,
    /// A trap.
    Trap,
    /// The job's fuel is used up.
    Fuel,
    /// The result is over its limit.
    Result,
    /// It reads too often or too much.
    Reads,
}

/// What a machine can lack in the middle of a job. Another may have it, so that it is never an outcome.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Memory that the job may have and the machine has not.
    Memory,
    /// Native stack: how much of it a call takes is the compiler's choice for a processor.
    Stack,
}

/// What an engine says that it is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Description {
    /// For example `duckdb`.
    pub name: String,
    /// Version of the engine, for example `v2.0.0`.
    pub version: String,
    /// Formats of inputs that it reads.
    pub formats: Vec<String>,
    /// Extensions that are linked in.
    pub extensions: Vec<String>,
}

impl Description {
    /// Cut to what people read: 64 entries, 128 bytes each.
    pub(crate) fn bounded(self) -> Self {
        let text = |mut text: String| {
            text.truncate(text.floor_char_boundary(128));
            text
        };
        let list = |list: Vec<String>| list.into_iter().take(64).map(text).collect();
        Self {
            name: text(self.name),
            version: text(self.version),
            formats: list(self.formats),
            extensions: list(self.extensions),
        }
    }
}

/// Parent to cell.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToCell {
    Job(Box<JobSpec>),
    /// In a job's place: what the engine is.
    Describe,
    /// The bytes of the read that was asked for are at the start of the window.
    InWindow,
}

/// Cell to parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromCell {
    Ready(Walls),
    Read {
        index: u32,
        offset: u64,
        length: u32,
    },
    Result(#[serde(with = "serde_bytes")] Vec<u8>),
    Progress(u32),
    Done {
        rows: u64,
        usage: Usage,
    },
    Failed {
        kind: FailKind,
        message: String,
        usage: Usage,
    },
    /// What the engine is.
    Described(Description),
    /// No outcome: what another machine would have had was lacking here.
    Lacks(Lack, String),
}

/// Header and payload. Bulk bytes are sent as they are, the rest as CBOR.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.push(kind);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("writing to memory cannot fail, and these types have a CBOR form");
    bytes
}

fn uncbor<T: for<'de> Deserialize<'de>>(payload: &[u8]) -> Option<T> {
    ciborium::from_reader(payload).ok()
}

const BULK: u8 = 1;
const MESSAGE: u8 = 2;

/// Payload length of a header, if it is one.
pub(crate) fn payload_length(header: [u8; HEADER]) -> Option<(u8, usize)> {
    let n = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    (matches!(header[0], BULK | MESSAGE) && n <= PAYLOAD_MAX).then_some((header[0], n))
}

impl ToCell {
    pub(crate) fn encode(&self) -> Vec<u8> {
        frame(MESSAGE, &cbor(self))
    }
    pub(crate) fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        (kind == MESSAGE).then(|| uncbor(payload))?
    }
}

impl FromCell {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Result(bytes) => frame(BULK, bytes),
            _ => frame(MESSAGE, &cbor(self)),
        }
    }
    pub(crate) fn decode(kind: u8, payload: Vec<u8>) -> Option<Self> {
        if kind == BULK { Some(Self::Result(payload)) } else { uncbor(&payload) }
    }
}
