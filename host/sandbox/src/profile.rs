//! Every setting that can change an outcome or its metering. A profile's id is part of a job: workers that agree on
//! engine, profile and job agree on every byte.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::Serialize;
use wasmtime::{Collector, Config, Engine, OptLevel, Result};

use crate::{CONTRACT, limits};

/// The compiler. A test compares it with the lock file.
const COMPILER: &str = "wasmtime 48.0.8";

/// How an engine image is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// As fast as can be; a job is stopped by killing its process.
    Plain,
    /// Counts fuel, a deterministic measure of work; about a quarter slower.
    Metered,
}

/// The instructions that an image may have: those of a level of processors and no others, whatever the machine that compiles
/// it has, so that all workers of a profile run the same code.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// x86-64-v2 of the System V ABI: up to SSE4.2 and POPCNT. Rounding needs no library on it.
    X86_64V2,
    /// x86-64-v3: AVX2, BMI, LZCNT, FMA (which is never put in place of a product and a sum).
    X86_64V3,
    /// x86-64-v4: AVX-512 in its first form.
    X86_64V4,
    /// Any 64-bit ARM.
    Aarch64,
}

impl Baseline {
    /// All, for comparing them.
    pub const ALL: [Self; 4] = [Self::X86_64V2, Self::X86_64V3, Self::X86_64V4, Self::Aarch64];

    /// What images are compiled for here. The others are for comparisons alone.
    pub const HERE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64V2 };

    const fn target(self) -> &'static str {
        match self {
            Self::X86_64V2 | Self::X86_64V3 | Self::X86_64V4 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Cranelift's names of what it adds to its target's least.
    fn flags(self) -> impl Iterator<Item = &'static str> {
        const V2: &[&str] = &["has_cmpxchg16b", "has_popcnt", "has_sse3", "has_ssse3", "has_sse41", "has_sse42"];
        const V3: &[&str] = &["has_avx", "has_avx2", "has_bmi1", "has_bmi2", "has_fma", "has_lzcnt"];
        const V4: &[&str] = &["has_avx512f", "has_avx512dq", "has_avx512vl"];
        let levels: &[&[&str]] = match self {
            Self::X86_64V2 => &[V2],
            Self::X86_64V3 => &[V2, V3],
            Self::X86_64V4 => &[V2, V3, V4],
            Self::Aarch64 => &[],
        };
        levels.iter().flat_map(|flags| flags.iter().copied())
    }
}

/// All that decides an outcome beside engine and job.
#[derive(Serialize, Clone, Debug)]
struct Settings {
    compiler: &'static str,
    baseline: Baseline,
    contract: [&'static str; 3],
    counts_fuel: bool,
    optimizes: bool,
    /// One representation of NaN.
    canonical_nan: bool,
    /// Instructions whose result the hardware chooses.
    relaxed_simd: bool,
    exceptions: bool,
    collects_garbage: bool,
    call_bytes: usize,
    table_entries: usize,
    instances: usize,
    idle_memory: u64,
    idle_fuel: u64,
    read_calls: u64,
    read_factor: u64,
    message_bytes: usize,
}

impl Settings {
    const fn of(variant: Variant, baseline: Baseline) -> Self {
        Self {
            compiler: COMPILER,
            baseline,
            contract: CONTRACT,
            counts_fuel: matches!(variant, Variant::Metered),
            optimizes: true,
            canonical_nan: true,
            relaxed_simd: false,
            exceptions: true,
            collects_garbage: false,
            call_bytes: limits::CALL_BYTES,
            table_entries: limits::TABLE_ENTRIES,
            instances: limits::INSTANCES,
            idle_memory: limits::IDLE_MEMORY,
            idle_fuel: limits::IDLE_FUEL,
            read_calls: limits::READ_CALLS,
            read_factor: limits::READ_FACTOR,
            message_bytes: limits::MESSAGE_BYTES,
        }
    }

    /// The variant's name, and the first 64 bits of the BLAKE3 of all settings as CBOR.
    fn id(&self) -> String {
        let mut text = vec![];
        ciborium::into_writer(self, &mut text)
            .expect("writing to memory cannot fail, and these types have a CBOR form");
        let hash = blake3::keyed_hash(blake3::hash(b"eider profile").as_bytes(), &text).to_hex();
        format!("{}-{}", if self.counts_fuel { "metered" } else { "plain" }, &hash[..16])
    }

    /// wasmtime's configuration, with what changes no outcome: speed, and what a failure shows.
    #[expect(unsafe_code, reason = "naming processor features")]
    fn config(&self) -> Result<Config> {
        let mut c = Config::new();
        c.target(self.baseline.target())?;
        for flag in self.baseline.flags() {
            // SAFETY: these are names of features, which wasmtime compares with the processor before it runs an image.
            unsafe { c.cranelift_flag_enable(flag) };
        }
        c.cranelift_nan_canonicalization(self.canonical_nan);
        c.wasm_relaxed_simd(self.relaxed_simd);
        c.consume_fuel(self.counts_fuel);
        c.max_wasm_stack(limits::WASM_STACK);
        // Unused, since a cell's calls are synchronous, but wasmtime wants it no smaller.
        c.async_stack_size(limits::WASM_STACK + (1 << 20));
        // What DuckDB's C++ exceptions compile to. What one takes is given back with the job: nothing stops to collect.
        c.wasm_exceptions(self.exceptions);
        c.collector(if self.collects_garbage { Collector::Auto } else { Collector::Null });
        c.cranelift_opt_level(if self.optimizes { OptLevel::Speed } else { OptLevel::None });
        // Guard pages instead of bounds checks, memory mapped copy-on-write from the image.
        c.memory_reservation(4 << 30);
        c.memory_guard_size(32 << 20);
        c.memory_init_cow(true);
        // Twice DuckDB's snapshot; more would make large images of small programs.
        c.memory_guaranteed_dense_image_size(32 << 20);
        // Filled when the instance is made, ahead of the job; and an indirect call has less to check.
        c.table_lazy_init(false);
        // Nobody symbolicates a stranger's engine, and the map is as large as half its code.
        c.generate_address_map(false);
        c.wasm_backtrace_max_frames(None);
        Ok(c)
    }
}

impl Variant {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Metered];

    /// The profile's id on the wire: it changes with every setting that can change an outcome.
    pub fn profile(self) -> &'static str {
        static IDS: LazyLock<[String; 2]> =
            LazyLock::new(|| Variant::ALL.map(|variant| Settings::of(variant, Baseline::HERE).id()));
        &IDS[self as usize]
    }

    /// What the id stands for: a line for each setting.
    pub fn settings(self) -> String {
        format!("{:#?}", Settings::of(self, Baseline::HERE))
    }

    /// The variant that runs a profile.
    pub fn of_profile(profile: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.profile() == profile)
    }

    /// wasmtime, set up so. Compiling and loading must use the same.
    pub(crate) fn engine(self, baseline: Baseline) -> Result<Engine> {
        Engine::new(&Settings::of(self, baseline).config()?)
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

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64V2 => "x86-64-v2",
            Self::X86_64V3 => "x86-64-v3",
            Self::X86_64V4 => "x86-64-v4",
            Self::Aarch64 => "aarch64",
        })
    }
}

impl FromStr for Baseline {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let all = Self::ALL.map(|b| b.to_string()).join(", ");
        Self::ALL.into_iter().find(|b| b.to_string() == s).ok_or_else(|| format!("{s:?} is none of {all}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_id_changes_with_every_setting() {
        let one = || Settings::of(Variant::Plain, Baseline::X86_64V2);
        let changes: [fn(&mut Settings); 17] = [
            |s| s.compiler = "wasmtime 48.0.9",
            |s| s.baseline = Baseline::X86_64V3,
            |s| s.contract[0] = "eider:engine/inputs@1.0.1",
            |s| s.counts_fuel = true,
            |s| s.optimizes = false,
            |s| s.canonical_nan = false,
            |s| s.relaxed_simd = true,
            |s| s.exceptions = false,
            |s| s.collects_garbage = true,
            |s| s.call_bytes += 1,
            |s| s.table_entries += 1,
            |s| s.instances += 1,
            |s| s.idle_memory += 1,
            |s| s.idle_fuel += 1,
            |s| s.read_calls += 1,
            |s| s.read_factor += 1,
            |s| s.message_bytes += 1,
        ];
        let changed = changes.map(|change| {
            let mut settings = one();
            change(&mut settings);
            settings.id()
        });
        let ids: BTreeSet<_> = changed.into_iter().chain([one().id()]).collect();
        assert_eq!(ids.len(), changes.len() + 1);
        let fields = format!("{:#?}", one()).lines().filter(|line| line.contains(": ")).count();
        assert_eq!(fields, changes.len(), "a setting that is not changed above");
    }

    /// Who changes a setting makes another profile, and writes down which.
    #[test]
    fn the_profiles_are_these() {
        let ids = Variant::ALL.map(|v| Settings::of(v, Baseline::X86_64V2).id());
        assert_eq!(ids, ["plain-4edb4a6035bba741", "metered-15761e612c8b2a28"]);
    }

    #[test]
    fn the_compiler_is_the_one_of_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let (name, version) = COMPILER.split_once(' ').unwrap();
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{COMPILER}");
    }
}
