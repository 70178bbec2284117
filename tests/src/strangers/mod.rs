//! Strangers on the wire: peers that misbehave in one way each, the neighbourhood that they do it in, and what its honest
//! people must see of it, which is nothing.
//!
//! Each behaviour is a file in `tests/strangers`: `asks/` play requesters against workers, `answers/` play workers against a
//! requester. `build.rs` makes a test of each, and refuses one whose head does not say what it costs and who is blamed.

mod answers;
mod asks;
mod head;
mod neighbour;
mod town;

pub use answers::{Call, Caller, Guest, PATIENT, Play, Raw, RawStream, Role, answers, body_of, crowd};
pub use asks::{Stranger, asks};
pub use head::Head;
pub use neighbour::{Answers, Asks, neighbours};
pub use town::{Footprint, Town};

pub use std::time::Duration;

pub use anyhow::{Context, Result, bail, ensure};
pub use eider_net::{JobStream, StreamError};
pub use eider_protocol::*;
