//! The second wall: what a cell gives up before it runs a stranger's code, so that an escape from WebAssembly lands in a
//! process without files, network, other processes or rights.
//!
//! A cell goes through two steps: [`enter`], while it has one thread and may still open its image, and [`seal`], when all
//! that it needs is open and the next instruction may be a stranger's. A layer that the machine cannot give is reported
//! in [`Walls`], and ends the cell if it was required.

mod filter;
mod namespaces;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::str::FromStr;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Private writable memory that a cell may have beside its engine's linear memory, bytes: stacks, wasmtime's structures,
/// the snapshot's pages, one result batch.
const HOST_MEMORY: u64 = (240 << 20) + limits::WASM_STACK as u64;

/// A layer of the second wall.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// No setuid program, no file capability can give rights back; all capabilities dropped.
    Privileges,
    /// `setrlimit`: no core dump, no file written, no descriptor opened, private memory bounded.
    Rlimits,
    /// Landlock: no file, no TCP port, no signal or abstract socket outside.
    Landlock,
    /// User, network, mount, IPC, PID, UTS and cgroup namespaces with nothing in them.
    Namespaces,
    /// A system call filter that allows what a cell needs, and kills on anything else.
    Seccomp,
}

impl Wall {
    /// All, in the order in which they go up.
    pub const ALL: [Self; 5] = [Self::Privileges, Self::Namespaces, Self::Rlimits, Self::Landlock, Self::Seccomp];

    /// Those without which nothing runs unless a policy says otherwise: every machine can give them.
    pub const REQUIRED: [Self; 3] = [Self::Privileges, Self::Rlimits, Self::Seccomp];

    const fn word(self) -> &'static str {
        match self {
            Self::Privileges => "privileges",
            Self::Rlimits => "rlimits",
            Self::Landlock => "landlock",
            Self::Namespaces => "namespaces",
            Self::Seccomp => "seccomp",
        }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Wall {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|w| w.word() == s).ok_or_else(|| format!("there is no wall {s:?}"))
    }
}

/// Which layers stand in a cell, and why the others do not.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Walls {
    /// What stands, with a word on how much of it.
    pub up: BTreeMap<Wall, String>,
    /// What does not, with the reason.
    pub missing: BTreeMap<Wall, String>,
}

impl Walls {
    fn note(&mut self, wall: Wall, result: io::Result<String>) {
        match result {
            Ok(how) => self.up.insert(wall, how),
            Err(e) => self.missing.insert(wall, e.to_string()),
        };
    }

    /// The first of `required` that does not stand.
    pub fn lacks(&self, required: &[Wall]) -> Option<(Wall, String)> {
        let reason = |w: Wall| self.missing.get(&w).cloned().unwrap_or_else(|| "it was not tried".into());
        required.iter().find(|w| !self.up.contains_key(w)).map(|w| (*w, reason(*w)))
    }
}

/// What a cell asks of its jail.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Linear memory that any job in it may have, bytes.
    pub(crate) memory: u64,
    /// Run only when nothing else wants the processor.
    pub(crate) idle: bool,
    /// Layers without which the cell ends.
    pub(crate) require: Vec<Wall>,
    /// Layers to leave out: none but in tests.
    pub(crate) without: Vec<Wall>,
}

impl Terms {
    /// Puts a layer up, unless a test leaves it out.
    fn put(&self, wall: Wall, up: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
        if self.without.contains(&wall) { Err(io::Error::other("left out")) } else { up() }
    }
}

/// First step, in a process with one thread. Returns in the process that goes on: the caller's, or with PID namespaces a
/// child of it while the caller's waits and ends as the child did. `before` runs there while files can still be opened.
pub(crate) fn enter<T>(terms: &Terms, before: impl FnOnce() -> io::Result<T>) -> io::Result<(Walls, T)> {
    let mut walls = Walls::default();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    if terms.idle {
        idle()?;
    }
    let spaces = terms.put(Wall::Namespaces, namespaces::unshare);
    let kept = before()?;
    let spaces = spaces.and_then(|inside| namespaces::empty_root().map(|()| inside));
    walls.note(Wall::Namespaces, spaces);
    walls.note(Wall::Privileges, terms.put(Wall::Privileges, drop_capabilities));
    let cap = |n| Rlimit { current: Some(n), maximum: Some(n) };
    setrlimit(Resource::Core, cap(0))?;
    setrlimit(Resource::Data, cap(terms.memory.saturating_add(HOST_MEMORY)))?;
    walls.note(Wall::Landlock, terms.put(Wall::Landlock, landlock));
    // Each change of rights takes it away.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok((walls, kept))
}

/// Second step, when everything that the cell needs is open and mapped. Holds for all threads.
pub(crate) fn seal(walls: &mut Walls, terms: &Terms, work: Work) -> io::Result<()> {
    let limits = || {
        let cap = |n| Rlimit { current: Some(n), maximum: Some(n) };
        setrlimit(Resource::Fsize, cap(work.writes()))?;
        // Not 0, for that is also how many descriptors poll may watch.
        setrlimit(Resource::Nofile, cap(1))?;
        Ok("no files, no core, bounded memory".into())
    };
    walls.note(Wall::Rlimits, terms.put(Wall::Rlimits, limits));
    walls.note(Wall::Seccomp, terms.put(Wall::Seccomp, filter::install));
    Ok(())
}

/// What a cell is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Running a job: writes no file.
    Run,
    /// Compiling an engine: writes an image of at most so many bytes.
    Compile(u64),
}

impl Work {
    fn writes(self) -> u64 {
        match self {
            Self::Run => 0,
            Self::Compile(bytes) => bytes,
        }
    }
}

fn drop_capabilities() -> io::Result<String> {
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok("no new privileges, no capabilities".into())
}

fn landlock() -> io::Result<String> {
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V5))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .restrict_self()
    };
    let status = restrict().map_err(io::Error::other)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok("no file, no TCP port, no signal outside".into()),
        RulesetStatus::PartiallyEnforced => {
            Ok("no file; this kernel's Landlock is older than what else it could forbid".into())
        }
        RulesetStatus::NotEnforced => Err(io::Error::other("this kernel has no Landlock, or it is off")),
    }
}

/// The scheduler's lowest class: anything else that wants the processor has it at once.
#[expect(unsafe_code, reason = "sched_setscheduler has no safe wrapper here")]
fn idle() -> io::Result<()> {
    rustix::process::setpriority_process(None, 19)?;
    // SAFETY: the parameter is a valid struct, and pid 0 is this process.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 }) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
