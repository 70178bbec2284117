//! A node's own jobs: whom it asks, what they say, and what is granted to them.
//!
//! [`Requester`] has what jobs share: [`links`](links.rs) to workers the [`grants`](grants.rs) that workers fetch inputs
//! by, and the [`engines`](engines.rs) that they may have. A job is a [`driver`](driver.rs), which tells `core::Job` what happens and does what it says, with a task for each
//! peer (`peer.rs`) that alone waits for it, and a log (`log.rs`) that record and progress display are made from.

mod candidate;
mod candidature;
mod driver;
mod engines;
mod evidence;
mod grants;
mod links;
mod log;
mod offer;
mod output;
mod peer;
mod record;
mod requester;

pub use candidate::Candidate;
pub use engines::Handout;
pub use log::{JobEvent, Notice};
pub use requester::{CANDIDATES_MAX, JobRequest, RequestError, Requester};
