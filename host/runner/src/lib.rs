//! A task becomes an outcome: cells fed with inputs, for workers and for the local path alike.

mod cells;
mod local;

pub use cells::{CellRunner, InputReader, Product, Reading, RunError, Runner, Running, Work};
pub use local::{LocalReport, run_local};

/// Where a result goes.
pub trait Sink: std::io::Write + Send {}
impl<T: std::io::Write + Send> Sink for T {}
