//! Runs query engines: WebAssembly components of the world in `guest/wit/engine.wit`.
//!
//! An engine is compiled once per machine into an [`Image`], which is mapped into every [`Cell`]: a child process that
//! runs one job and ends. The parent brokers input ranges and takes result bytes over a socket pair, and kills the
//! process when a deadline passes or nobody wants the result any more. This room knows nothing of the network, of
//! identities or of where inputs come from.

mod cell;
mod engine;
#[cfg(fuzzing)]
pub mod fuzz;
mod group;
mod image;
mod inspect;
mod jail;
pub mod limits;
mod pool;
mod prefault;
mod process;
mod profile;
mod wire;

pub use cell::{CellExit, CellOptions, CellTask, run_cell, run_cell_opened};
pub use engine::Host;
pub use group::CellGroup;
pub use image::{Image, ImageCache, ImageError};
pub use inspect::{CONTRACT, Import, InspectError, Inspection, inspect};
pub use jail::{Wall, Walls};
pub use pool::Pool;
pub use process::{Broker, BrokerError, Cell, CellCommand, CellError, Finished, probe_walls};
pub use profile::Variant;
pub use wire::{FailKind, Input, JobSpec, Usage};
