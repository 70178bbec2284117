//! What a node keeps, in one SQLite file: its jobs, the policies that they were under, and what it has learned of
//! evidence; archives of jobs, and audits of them.

pub mod audit;
mod memory;
mod record;
mod store;

pub use memory::{Memory, Requirement};
pub use record::{Fate, JobEnd, JobRecord, Moment, PeerRecord, ResetCodeWord, What};
pub use store::{Store, StoreError};
