//! Frames: one byte of kind, four of length (big endian), the payload ([P-FRAME-1]).

use std::fmt;

/// Bytes before a payload.
pub const HEADER_BYTES: usize = 5;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $max:expr;)*) => {
        /// What a frame carries. The word is the same in specification, code, logs and signing domain.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $code,)* }

        impl Kind {
            /// Every kind, in the order of its code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The kind with this code.
            ///
            /// # Errors
            /// [`FrameError::UnknownKind`].
            pub fn from_code(code: u8) -> Result<Self, FrameError> {
                match code { $($code => Ok(Self::$name),)* _ => Err(FrameError::UnknownKind(code)) }
            }
            /// Largest payload in bytes ([P-FRAME-2]).
            pub const fn max_bytes(self) -> usize {
                match self { $(Self::$name => $max,)* }
            }
        }
        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $word,)* })
            }
        }
    };
}

kinds! {
    /// Requester to candidate.
    Offer = 1, "offer", 8 << 10;
    /// Worker to requester; leaves room for evidence.
    Bid = 2, "bid", 320 << 10;
    /// Requester to chosen worker: SQL and manifest.
    Dispatch = 3, "dispatch", 4 << 20;
    /// Worker to requester, before any byte of the result; an error message of DuckDB fits.
    Commit = 4, "commit", 64 << 10;
    /// Requester to a worker whose commit agrees.
    Verify = 5, "verify", 512;
    /// Both ways, at the end.
    Settle = 6, "settle", 4 << 10;
    /// Worker to requester, while it works.
    Progress = 7, "progress", 256;
    /// Worker to requester, on a stream of its own: part of an input.
    Fetch = 8, "fetch", 512;
    /// Requester to a worker whose TPM has still to show that two keys are its own.
    Challenge = 9, "challenge", 4 << 10;
    /// Its answer.
    Response = 10, "response", 512;
    /// Either way: what follows on this half of the stream is sealed.
    Sealed = 11, "sealed", 256;
    /// Worker to requester, on a stream of its own: part of an engine that it has not.
    Engine = 12, "engine", 256;
    /// Requester to worker, before what is published of an engine: how much that is.
    Published = 13, "published", 256;
}

/// Why a frame cannot be.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A kind that this version does not know.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// Longer than its kind allows.
    #[error("{kind} frame of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its kind.
        kind: Kind,
        /// Bytes that it claims.
        bytes: u64,
        /// Bytes that are allowed.
        max: usize,
    },
}

/// A frame's header, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What follows.
    pub kind: Kind,
    /// How many bytes of it.
    pub length: usize,
}

impl FrameHeader {
    /// Parses and bounds a header before anything is allocated for its payload.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn parse(header: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let kind = Kind::from_code(header[0])?;
        let bytes = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        if bytes as usize > kind.max_bytes() {
            return Err(FrameError::TooLarge { kind, bytes: bytes.into(), max: kind.max_bytes() });
        }
        Ok(Self { kind, length: bytes as usize })
    }
}

/// Header and payload.
///
/// # Errors
/// [`FrameError::TooLarge`]: we never send what the other side must refuse.
pub fn encode_frame(kind: Kind, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    if payload.len() > kind.max_bytes() {
        return Err(FrameError::TooLarge { kind, bytes: payload.len() as u64, max: kind.max_bytes() });
    }
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.push(kind as u8);
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}
