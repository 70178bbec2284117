//! Every setting that can change a result or its metering. A profile's id is part of a job: workers that agree on
//! engine, profile and job agree on every byte.

use std::fmt;
use std::str::FromStr;

use wasmtime::{Collector, Config, OptLevel};

use crate::limits;

/// How an engine image is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// As fast as can be; a job is stopped by killing its process.
    Plain,
    /// Counts fuel, a deterministic measure of work; about a quarter slower.
    Metered,
}

impl Variant {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Metered];

    /// The profile's id on the wire: version 1 of the settings in this file, and the image.
    pub const fn profile(self) -> &'static str {
        match self {
            Self::Plain => "p1-plain",
            Self::Metered => "p1-metered",
        }
    }

    /// The variant that runs a profile.
    pub fn of_profile(profile: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.profile() == profile)
    }

    /// wasmtime's configuration. Compiling and loading must use the same.
    pub(crate) fn config(self) -> Config {
        let mut c = Config::new();
        // Determinism: one representation of NaN, no instruction whose result the hardware chooses, no threads.
        c.cranelift_nan_canonicalization(true);
        c.wasm_relaxed_simd(false);
        c.consume_fuel(self == Self::Metered);
        c.max_wasm_stack(limits::WASM_STACK);
        // Unused, since a cell's calls are synchronous, but wasmtime wants it no smaller.
        c.async_stack_size(limits::WASM_STACK + (1 << 20));
        // What DuckDB's C++ exceptions compile to. What one takes is given back with the job: nothing stops to collect.
        c.wasm_exceptions(true);
        c.collector(Collector::Null);
        // Speed: guard pages instead of bounds checks, memory mapped copy-on-write from the image.
        c.memory_reservation(4 << 30);
        c.memory_guard_size(32 << 20);
        c.memory_init_cow(true);
        // Twice DuckDB's snapshot; more would make large images of small programs.
        c.memory_guaranteed_dense_image_size(32 << 20);
        // Filled when the instance is made, ahead of the job; and an indirect call has less to check.
        c.table_lazy_init(false);
        c.cranelift_opt_level(OptLevel::Speed);
        // Nobody symbolicates a stranger's engine, and the map is as large as half its code.
        c.generate_address_map(false);
        c.wasm_backtrace_max_frames(None);
        c
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Metered => "metered",
        })
    }
}

impl FromStr for Variant {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|v| v.to_string() == s).ok_or_else(|| format!("{s:?} is neither plain nor metered"))
    }
}
