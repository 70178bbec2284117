//! Runs query engines: WebAssembly components of the world in `guest/wit/engine.wit`.
//!
//! An engine is compiled once per machine into an [`Image`], which is mapped into every [`Cell`]: a child process that
//! runs one job and ends. The parent brokers input ranges and takes result bytes over a socket pair, and kills the
//! process when a deadline passes or nobody wants the result any more. This room knows nothing of the network, of
//! identities or of where inputs come from.
//!
//! # What a machine could put into an outcome
//!
//! An outcome must be the same on every honest machine. These are the ways in which a machine's own state could enter one,
//! and what keeps it out:
//!
//! | state of the machine | what becomes of it | test |
//! |---|---|---|
//! | memory refused to linear memory within the job's limit | [`Lack::Memory`]: no outcome | `outcomes` |
//! | a growth past the memory's own type | refused alike anywhere: the engine sees -1 | `programs`, `memory-beyond-its-type` |
//! | an allocation of the host's beside it that fails | the process ends, or [`Lack::Memory`]: no outcome | |
//! | native stack: its bytes a call are the compiler's choice | [`Lack::Stack`]: no outcome; DuckDB's own stack in linear memory ends first | `outcomes`, `programs`, `sql` |
//! | processor features | an image has those of its [`Baseline`] alone | `make determinism` |
//! | compiler, settings, limits of calls and reads | named by the profile's id | `profile` |
//! | clock, randomness, processor count | the job's own time and seed; one thread; the clock counts calls | `grid`, `tpch` |
//! | time limits, a killed process, a full disk, an unreadable input | [`CellError`]: no outcome | `grid`, `kills` |
//! | rounding and small numbers, as a preloaded library left them | set as IEEE 754 has them, for compiler and engine | `outcomes` |
//! | cached inputs that the disk gives back otherwise than it was given them | found by each job, and fetched again | `grid`, `inputs::cache` |
//! | the program's file, replaced while a worker runs | cells are of the program that runs | `grid` |
//! | a compiled image that the disk gives back otherwise after it was opened and authenticated | nothing keeps it out, as nothing does for faulty memory | |
//! | progress that is dropped, huge pages, page cache, kernel | nothing that an engine can see | |

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
pub use jail::{TooLow, Wall, Walls};
pub use pool::Pool;
pub use process::{Broker, BrokerError, Cell, CellCommand, CellError, Finished, probe_walls};
pub use profile::{Baseline, Variant};
pub use wire::{Description, FailKind, Input, JobSpec, Lack, Usage};
