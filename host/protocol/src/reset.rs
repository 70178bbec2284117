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
    ($($(#[$doc:meta])* $name:ident = $code:literal, $fault:ident, $word:literal, $text:literal;)*) => {
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
            /// The code's name, where it is written down; it never changes.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
            /// The code with this name.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
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
    Cancelled = 0x01, None, "cancelled", "the requester cancelled the job";
    /// Enough others agreed first.
    QuorumReached = 0x02, None, "quorum-reached", "quorum was reached without this worker";
    /// Others were chosen.
    NotChosen = 0x03, None, "not-chosen", "other bids were chosen";
    /// The job's deadline passed.
    DeadlinePassed = 0x04, None, "deadline-passed", "the job's deadline passed";
    /// The job ended, with a result or without.
    JobEnded = 0x05, None, "job-ended", "the job is over";
    /// No sign of life for too long.
    Stalled = 0x06, None, "stalled", "no progress for too long";
    /// The commit disagrees with the quorum's.
    Dissent = 0x07, Receiver, "dissent", "its commit disagrees with the quorum";
    /// The delivered bytes are not those of the root.
    WrongBytes = 0x08, Receiver, "wrong-bytes", "its bytes do not match the committed root";
    /// Two different commits for one job.
    Equivocation = 0x09, Receiver, "equivocation", "it committed to two different results";

    /// Not a message.
    Malformed = 0x10, Receiver, "malformed", "malformed message";
    /// Larger than its kind allows.
    FrameTooLarge = 0x11, Receiver, "frame-too-large", "frame too large";
    /// A kind that does not exist.
    UnknownKind = 0x12, None, "unknown-kind", "unknown frame kind";
    /// A message out of its order.
    Unexpected = 0x13, Receiver, "unexpected", "message out of order";
    /// A signature that does not verify.
    BadSignature = 0x14, Receiver, "bad-signature", "bad signature";
    /// A message of, or for, somebody else.
    WrongPeer = 0x15, Receiver, "wrong-peer", "message of or for another node";
    /// The task is not the one that was offered.
    TaskMismatch = 0x16, Receiver, "task-mismatch", "dispatch does not match its offer";
    /// The input asked for was not granted to this worker.
    NotGranted = 0x17, Receiver, "not-granted", "input was not granted";
    /// Too many streams or messages.
    TooMany = 0x18, None, "too-many", "too many requests";
    /// It has a value that only a later version knows.
    Incompatible = 0x19, None, "incompatible", "a value of a later version";
    /// The Offer is no longer good, or never was by this node's clock.
    Expired = 0x1a, None, "expired", "the offer has expired";
    /// What came is not sealed with the job's key: whoever has the node's key file may have sent it.
    Unsealed = 0x1b, None, "unsealed", "not sealed with the job's key";

    /// The sandbox ended without an outcome.
    CellFailed = 0x20, Sender, "cell-failed", "the worker's sandbox failed";
    /// The node is going down.
    ShuttingDown = 0x21, Sender, "shutting-down", "the node is shutting down";
    /// Its resources were taken meanwhile.
    OverCapacity = 0x22, Sender, "over-capacity", "the worker's capacity was taken meanwhile";
    /// An input could not be fetched.
    InputUnavailable = 0x23, Sender, "input-unavailable", "an input could not be had";
    /// An input is no longer what the manifest says.
    InputChanged = 0x24, Sender, "input-changed", "an input changed while the job ran";
    /// A limit that only this worker's clock knows.
    TimeLimit = 0x25, Sender, "time-limit", "the job ran out of its time on this worker";
    /// The result does not fit the worker's disk.
    DiskFull = 0x26, Sender, "disk-full", "the worker cannot keep the result";
    /// Its owner wants the machine back.
    Withdrawn = 0x27, Sender, "withdrawn", "the machine's owner took the donation back";
    /// It had no memory for what the job may have.
    OutOfMemory = 0x28, Sender, "out-of-memory", "the worker's machine had no memory for what the job may use";
    /// The engine used all native stack: how much a call takes differs among machines.
    StackUsedUp = 0x29, Sender, "stack-used-up", "the engine used all of its native stack on the worker";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_word_of_its_own() {
        for code in ResetCode::ALL {
            assert_eq!(ResetCode::from_word(code.word()), Some(*code));
            assert!(code.word().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", code.word());
        }
        assert_eq!(ResetCode::from_word("bored"), None);
    }
}
