//! A donated machine: Offers in, Commits and results out, as far as its owner wishes.

mod device;
mod evidence;
mod owner;
mod policy;
mod worker;

pub use device::{DeviceConfig, DeviceError};
pub use evidence::{Attester, DevelopmentAttester, Evidence};
pub use owner::{Hours, PauseFile, Presence, watch_owner};
pub use policy::{PolicyError, WorkerPolicy};
pub use worker::{Worker, WorkerError, WorkerSetup};
