//! A donated machine: Offers in, Commits and results out, as far as its owner wishes.
//!
//! [`accept`](accept.rs) lets connections and streams in; [`job`](job.rs) is a stream that began with an Offer;
//! [`deliver`](deliver.rs) keeps results and serves Verify; [`inputs`](inputs.rs) fetches what a job reads, [`engines`](engines.rs) what it is run by; [`evidence`](evidence.rs) asks
//! the device that vouches for the machine, and [`collateral`](collateral.rs) has renewed what vendors say of it; [`owner`](owner.rs) watches what its owner wants.

mod accept;
mod collateral;
mod deliver;
mod device;
mod engines;
mod evidence;
mod inputs;
mod job;
mod owner;
mod places;
mod policy;
mod uses;
mod worker;

pub use device::{DeviceConfig, DeviceError};
pub use engines::{EngineSetup, touches_of};
pub use evidence::{Attester, DevelopmentAttester, Evidence};
pub use owner::{Hours, PauseFile, Presence, watch_owner};
pub use policy::{PolicyError, WorkerPolicy};
pub use worker::{Spooled, Worker, WorkerError, WorkerSetup};
