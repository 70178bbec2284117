//! A task becomes an outcome: cells fed with inputs, for workers and for the local path alike; and where results go.

mod cells;
mod local;
mod sink;
mod spool;

pub use cells::{
    CellRunner, Disk, InputReader, Kept, Pools, Product, Reading, RunError, Runner, Running, Uncounted, Work,
};
pub use local::{LocalReport, run_local};
pub use sink::{Discard, MemorySink, Sink, Writing, same_error};
pub use spool::{Pump, SPOOL_MEMORY, Spool, SpoolWriter};
