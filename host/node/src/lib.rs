//! Where the rooms meet. This room puts them together and decides nothing: keys, paths, the engine that is built in.

// Every input range passes through buffers of a megabyte. glibc maps and unmaps each of them anew, and the page faults of
// that cost a third of a scan; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod engine;
mod key;
mod paths;
mod worker;

pub use eider_inputs::{InputArg, InputCache, InputError, Inputs, PinnedInput};
pub use eider_requester::{Candidate, Handout, JobEvent, JobRequest, Notice, RequestError, Requester};
pub use eider_runner::{
    CellRunner, Discard, Disk, InputReader, Kept, LocalReport, MemorySink, Product, Reading, RunError, Runner, Running,
    Sink, Uncounted, Work, run_local,
};
pub use eider_store::{
    Fate, JobEnd, JobRecord, Memory, Moment, PeerRecord, Requirement, Store, StoreError, What, audit,
};
pub use eider_worker::{
    Attester, DevelopmentAttester, DeviceConfig, DeviceError, Evidence, Hours, PauseFile, PolicyError, Presence,
    Spooled, Worker, WorkerError, WorkerPolicy, WorkerSetup, touches_of, watch_owner,
};
pub use engine::{EngineBinary, EngineError, engine_policy};
pub use key::{KeyError, load_key, load_or_create_key, new_key};
pub use paths::{Paths, PathsError, folder};
pub use worker::{LocalWorker, StartError, Taking, WorkerParts};
