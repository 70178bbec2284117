//! What goes over the wire: ids, eight signed messages, Progress, Fetch, Engine and Sealed, frames, sealed records, reset codes.
//!
//! The rules are prose in `PROTOCOL.md` beside this crate; code and tests cite them as `[P-…]`. This room does
//! serialisation, hashing and sealing only: no sockets, no clock, no policy.

mod envelope;
mod frame;
mod id;
mod identity;
mod message;
mod reset;
mod seal;
mod sealed;
mod version;
mod words;

pub use envelope::{Extensions, Signed, Unverified};
pub use frame::{FrameError, FrameHeader, HEADER_BYTES, Kind, encode_frame};
pub use id::{Hash, NodeId, OfferId, ParseIdError};
pub use identity::{Identity, PublicKey};
pub use message::{
    Accept, Bid, Body, Challenge, Commit, DataClass, Decline, DeclineReason, Demand, Dispatch, EngineFetch, EnginePart,
    FailureKind, Fetch, Format, InputEntry, InputsSummary, Limits, ManifestError, Metering, Offer, Outcome, Progress,
    Published, Response, Settle, Stage, Task, TaskOutline, Terms, Verdict, Verify, manifest_check, query_hash,
};
pub use reset::{Fault, ResetCode};
pub use seal::{SealError, SealingKey, is_sealing_key};
pub use sealed::{JobSecret, Lane, Opener, RECORD_HEADER_BYTES, RECORD_MAX, Sealed, SealedError, Sealer};
pub use version::{UnknownVersion, Version};
pub use words::{is_printable, printable, printable_lines};

/// Chunk group of verified streaming, log2 of KiB: 16 KiB groups ([P-STREAM-1]).
pub const CHUNK_GROUP_LOG: u8 = 4;

/// Bytes of a chunk group: offsets of Verify and Fetch are multiples of it.
pub const CHUNK_GROUP_BYTES: u64 = 1 << (10 + CHUNK_GROUP_LOG);

/// Why bytes that claim to be a message are none.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The frame itself is at fault.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not CBOR, not of this message's shape, or followed by something.
    #[error("malformed {0} message: {1}")]
    Malformed(Kind, String),
    /// A value, field or kind of a later version: it blames nobody ([P-VER-2]).
    #[error("{0} message of a later version: {1}")]
    Incompatible(Kind, String),
    /// The signature does not verify, or the key is none.
    #[error("bad signature on {0} message")]
    BadSignature(Kind),
    /// Well signed, but not by whom it must be.
    #[error("{kind} message is signed by {actual}, expected {expected}")]
    WrongSigner {
        /// The message's kind.
        kind: Kind,
        /// Whose signature was required.
        expected: NodeId,
        /// Whose it is.
        actual: NodeId,
    },
}

impl DecodeError {
    /// The code that resets a stream on which this arrived ([P-RESET-2]).
    pub fn reset_code(&self) -> ResetCode {
        match self {
            Self::Frame(FrameError::TooLarge { .. }) => ResetCode::FrameTooLarge,
            Self::Frame(FrameError::UnknownKind(_)) => ResetCode::UnknownKind,
            Self::Malformed(..) => ResetCode::Malformed,
            Self::Incompatible(..) => ResetCode::Incompatible,
            Self::BadSignature(_) => ResetCode::BadSignature,
            Self::WrongSigner { .. } => ResetCode::WrongPeer,
        }
    }
}
