//! A node's own jobs: whom it asks, what they say, and what is granted to them.

mod driver;
mod evidence;
mod fates;
mod grants;
mod peer;
mod requester;

pub use requester::{Candidate, JobRequest, Notice, RequestError, Requester};
