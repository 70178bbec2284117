//! Every limit that is not a job's own, once: what it is, and why it is that number. A job's own (memory, result, time,
//! fuel, inputs) are in its Offer, with defaults in the `eider` program.

/// Native stack that WebAssembly may use, bytes; past it the job has no outcome, for what a call takes is the compiler's
/// choice. DuckDB's own stack in linear memory has 8 MiB and ends the same on any machine: this is more, so that it ends first.
pub const WASM_STACK: usize = 32 << 20;
/// Bytes of one `read` or `write` call of the contract; more is a trap. DuckDB reads at most 8 MiB at a time.
pub const CALL_BYTES: usize = 16 << 20;
/// Entries of all tables of an engine together; a growth past it fails inside the engine. DuckDB's
/// function table has 60 thousand.
pub const TABLE_ENTRIES: usize = 1 << 20;
/// Tables, memories and instances of one engine, each; more are refused at start. A component of ours has fewer than ten.
pub const INSTANCES: usize = 64;
/// Linear memory that an engine may have before it knows its job, bytes: a snapshot and a little.
pub const IDLE_MEMORY: u64 = 256 << 20;
/// Fuel of an engine's start, on a metered image; its job's fuel is set after.
pub const IDLE_FUEL: u64 = 1_000_000_000;
/// `read` calls of one job; past it the job ends as [`FailKind::Reads`]. The 22 TPC-H queries make at most a few
/// thousand at scale factor 1. Part of the profile.
///
/// [`FailKind::Reads`]: crate::FailKind::Reads
pub const READ_CALLS: u64 = 10_000_000;
/// Bytes that a job may read, as a multiple of its inputs' size; past it the job ends as
/// [`FailKind::Reads`]. A self-join of ten tables reads ten times. Part of the profile.
///
/// [`FailKind::Reads`]: crate::FailKind::Reads
pub const READ_FACTOR: u64 = 1000;
/// Progress reports that leave a cell, per second; more are dropped there, since only the last one is of interest.
pub const PROGRESS_PER_SECOND: u32 = 20;
/// Bytes of a failure's message that leave a cell: more than a Commit keeps of it. The rest is cut.
pub const MESSAGE_BYTES: usize = 64 << 10;
/// Bytes of a cell's standard error that the parent reads; the engine itself cannot write there.
pub const LOG_BYTES: u64 = 2000;
/// Largest component, bytes: DuckDB has 57 MB.
pub const COMPONENT_BYTES: usize = 512 << 20;
/// Components and modules inside each other: one of ours has two levels.
pub const NESTING: usize = 16;
/// Largest compiled image, bytes: DuckDB's has 200 to 250 MB.
pub const IMAGE_BYTES: u64 = 2 << 30;
/// Wall clock of a compilation, seconds, of a small engine: one function of 130 KB can take a minute.
pub const COMPILE_SECONDS: u64 = 120;
/// Seconds more for each MiB of the component: DuckDB takes one on two cores of a server, and has 15.
pub const COMPILE_SECONDS_PER_MIB: u64 = 15;
/// Private memory of a compilation, bytes: DuckDB takes 2 to 3 GB.
pub const COMPILE_MEMORY: u64 = 8 << 30;

/// Private memory that compiling a component of so many bytes takes, by what DuckDB takes and a fifth more; no more than
/// [`COMPILE_MEMORY`].
pub fn compile_memory(component: u64) -> u64 {
    component.saturating_mul(60).saturating_add(256 << 20).min(COMPILE_MEMORY)
}

/// A limit, for people.
#[derive(Clone, Debug)]
pub struct Limit {
    /// Its name.
    pub name: &'static str,
    /// The number.
    pub value: u64,
    /// Its unit.
    pub unit: &'static str,
    /// What happens past it.
    pub end: &'static str,
}

/// All of this file, for `eider doctor`.
pub fn all() -> Vec<Limit> {
    let limit = |name, value, unit, end| Limit { name, value, unit, end };
    vec![
        limit("stack", WASM_STACK as u64, "bytes", "the job has no outcome here"),
        limit("read or write call", CALL_BYTES as u64, "bytes", "the job fails: trap"),
        limit("read calls", READ_CALLS, "calls", "the job fails: reads"),
        limit("bytes read", READ_FACTOR, "times the inputs", "the job fails: reads"),
        limit("tables", TABLE_ENTRIES as u64, "entries", "the growth fails"),
        limit("instances, memories, tables", INSTANCES as u64, "each", "the engine is refused"),
        limit("memory before the job", IDLE_MEMORY, "bytes", "the engine is refused"),
        limit("fuel before the job", IDLE_FUEL, "units", "the engine is refused"),
        limit("progress reports", u64::from(PROGRESS_PER_SECOND), "per second", "the rest is dropped"),
        limit("failure message", MESSAGE_BYTES as u64, "bytes", "the rest is cut"),
        limit("log of a cell", LOG_BYTES, "bytes", "the rest is dropped"),
        limit("component", COMPONENT_BYTES as u64, "bytes", "the engine is refused"),
        limit("component nesting", NESTING as u64, "levels", "the engine is refused"),
        limit("compiled image", IMAGE_BYTES, "bytes", "the engine is refused"),
        limit("compile time", COMPILE_SECONDS, "seconds", "the engine is refused"),
        limit("compile time of each MiB", COMPILE_SECONDS_PER_MIB, "seconds", "the engine is refused"),
        limit("compile memory", COMPILE_MEMORY, "bytes", "the engine is refused"),
    ]
}
