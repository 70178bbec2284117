//! The logic of a job, without I/O: events and the time go in, actions come out. Nothing here reads a clock, a socket
//! or a random source, so the whole grid can be simulated (`tests/cluster`).
//!
//! [`Job`] is the requester's side: Offers, Bids, seats by [draw](seat), Dispatch, Commits, quorum, Verify, Settle, and a
//! Reset for every loser. [`Admission`] is the worker's: whether an Offer fits the donation, and what is in use.

mod admission;
mod draw;
mod job;
mod plan;

pub use admission::{Admission, Donation, EngineStand, Refused};
pub use draw::{Network, seat, weights};
pub use job::{Action, Closed, DeliveryFailure, End, Event, Job, LostWhy, Peer, PeerState, Split};
pub use plan::{Plan, PlanError};
