//! Where the rooms meet: `core` decides, `net` moves bytes, `sandbox` runs engines, and this room drives them.
//!
//! [`Worker`] serves a donated machine; [`Requester`] runs jobs on a grid; [`run_local`] runs the same job in the local
//! sandbox alone. Both deliver to a [`Sink`], and both pin their inputs first ([`Inputs`]).

// Every input range passes through buffers of a megabyte. glibc maps and unmaps each of them anew, and the page faults of
// that cost a third of a scan; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod attest;
pub mod audit;
mod cache;
mod device;
mod driver;
mod engine;
mod inputs;
mod key;
mod local;
mod owner;
mod paths;
mod peer;
mod policy;
mod record;
mod requester;
mod runner;
mod serve;
mod store;
mod worker;

pub use attest::{Attester, DevelopmentAttester, Evidence, Memory, Requirement};
pub use cache::{CacheError, InputCache};
pub use device::{DeviceConfig, DeviceError};
pub use engine::{EngineBinary, EngineError};
pub use inputs::{InputArg, InputError, Inputs, PinnedInput};
pub use key::{KeyError, load_key, load_or_create_key, new_key};
pub use local::{LocalReport, run_local};
pub use owner::{Hours, PauseFile, Presence, watch_owner};
pub use paths::{Paths, PathsError};
pub use policy::{PolicyError, WorkerPolicy};
pub use record::{JobRecord, Moment, PeerRecord, What};
pub use requester::{Candidate, JobRequest, Notice, RequestError, Requester, Sink};
pub use runner::{CellRunner, InputReader, Product, Reading, RunError, Runner, Running, Work};
pub use store::{Store, StoreError};
pub use worker::{Worker, WorkerError, WorkerSetup};
