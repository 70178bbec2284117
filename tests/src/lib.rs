//! The harness of what crosses rooms: worker processes, a requester, TPC-H data, the small programs.

mod broker;
mod escape;
mod grid;
pub mod hostile_sql;
mod machine;
mod native;
pub mod process;
pub mod programs;
pub mod strangers;
pub mod tpch;

pub use broker::NoBroker;
pub use escape::{Drill, Escape};
pub use grid::{Behaviour, Grid, Job, Ran, eider, engine_cache, request_of, target_dir, work_of};
pub use machine::Machine;
pub use native::{native, python};
