//! Why a stream was ended: QUIC application error codes ([P-RESET-1]).

use std::fmt;

/// Whose doing a Reset is. Only [`Fault::Receiver`] may ever cost reputation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nobody's: the job went another way.
    None,
    /// The receiver broke the protocol or lied.
    Receiver,
    /// The sender cannot go on.
    Sender,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $fault:ident, $text:literal;)*) => {
        /// A typed reset code.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum ResetCode { $($(#[$doc])* $name = $code,)* }

        impl ResetCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// The code on the wire.
            pub const fn code(self) -> u32 { self as u32 }
            /// The code with this number; one of a later version is none.
            pub fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
            /// Whose doing it is.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }
        }
        impl fmt::Display for ResetCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

codes! {
    /// The requester gave the job up.
    Cancelled = 0x01, None, "the requester cancelled the job";
    /// Enough others agreed first.
    QuorumReached = 0x02, None, "quorum was reached without this worker";
    /// Others were chosen.
    NotChosen = 0x03, None, "other bids were chosen";
    /// The job's deadline passed.
    DeadlinePassed = 0x04, None, "the job's deadline passed";
    /// The job ended without a result.
    JobEnded = 0x05, None, "the job ended without a result";
    /// No sign of life for too long.
    Stalled = 0x06, None, "no progress for too long";
    /// The commit disagrees with the quorum's.
    Dissent = 0x07, Receiver, "its commit disagrees with the quorum";
    /// The delivered bytes are not those of the root.
    WrongBytes = 0x08, Receiver, "its bytes do not match the committed root";
    /// Two different commits for one job.
    Equivocation = 0x09, Receiver, "it committed to two different results";

    /// Not a message.
    Malformed = 0x10, Receiver, "malformed message";
    /// Larger than its kind allows.
    FrameTooLarge = 0x11, Receiver, "frame too large";
    /// A kind that does not exist.
    UnknownKind = 0x12, None, "unknown frame kind";
    /// A message out of its order.
    Unexpected = 0x13, Receiver, "message out of order";
    /// A signature that does not verify.
    BadSignature = 0x14, Receiver, "bad signature";
    /// A message of, or for, somebody else.
    WrongPeer = 0x15, Receiver, "message of or for another node";
    /// The SQL is not the one that was offered.
    QueryMismatch = 0x16, Receiver, "dispatch does not match its offer";
    /// The input asked for was not granted to this worker.
    NotGranted = 0x17, Receiver, "input was not granted";
    /// Too many streams or messages.
    TooMany = 0x18, None, "too many requests";
    /// Something that only a later version of the protocol has.
    Incompatible = 0x19, None, "a value of a later version";

    /// The sandbox ended without an outcome.
    CellFailed = 0x20, Sender, "the worker's sandbox failed";
    /// The node is going down.
    ShuttingDown = 0x21, Sender, "the node is shutting down";
    /// Its resources were taken meanwhile.
    OverCapacity = 0x22, Sender, "the worker's capacity was taken meanwhile";
    /// An input could not be fetched.
    InputUnavailable = 0x23, Sender, "an input could not be had";
    /// An input is no longer what the manifest says.
    InputChanged = 0x24, Sender, "an input changed while the job ran";
    /// A limit that only this worker's clock knows.
    TimeLimit = 0x25, Sender, "the job ran out of its time on this worker";
    /// The result does not fit the worker's disk.
    DiskFull = 0x26, Sender, "the worker cannot keep the result";
    /// Its owner wants the machine back.
    Withdrawn = 0x27, Sender, "the machine's owner took the donation back";
}
