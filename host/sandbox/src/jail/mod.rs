//! The second wall: what a cell gives up before it runs a stranger's code, so that an escape from WebAssembly lands in a
//! process without files, network, other processes or rights.
//!
//! A cell goes through two steps: [`enter`], after which it has one thread and can open its image and nothing else, and
//! [`seal`], when that is parsed and mapped and the next instruction may be a stranger's. A layer that the machine cannot
//! give is reported in [`Walls`], and ends the cell if it was required.

mod filter;
mod namespaces;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Private writable memory that a cell may have beside its engine's linear memory, bytes: stacks, wasmtime's structures,
/// the snapshot's pages, one result batch.
const HOST_MEMORY: u64 = (240 << 20) + limits::WASM_STACK as u64;
/// How far the first thread's stack may grow, bytes: where an ordinary process's does. It waits for the others.
const FIRST_STACK: u64 = 8 << 20;

/// A layer of the second wall.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// No setuid program, no file capability can give rights back; all capabilities dropped; no key of the session.
    Privileges,
    /// `setrlimit`: no core dump, no file written, no descriptor beside those it has, no further process or thread (of an
    /// ordinary user; root's are not counted), private memory bounded.
    Rlimits,
    /// Landlock: no file, no TCP port, no tracing, no signal or abstract socket outside. Not UDP, sockets that have a file,
    /// System V memory, the user's keys, or the limits of the user's other processes.
    Landlock,
    /// User, network, mount, IPC, PID, UTS and cgroup namespaces with nothing in them.
    Namespaces,
    /// A system call filter that allows what a cell needs, and kills on anything else.
    Seccomp,
}

impl Wall {
    /// All, in the order in which they go up.
    pub const ALL: [Self; 5] = [Self::Privileges, Self::Namespaces, Self::Rlimits, Self::Landlock, Self::Seccomp];

    /// Those without which nothing runs, whatever a policy says: every machine can give them. Beside them one of
    /// [`Wall::BEHIND`] must stand.
    pub const FLOOR: [Self; 3] = [Self::Privileges, Self::Rlimits, Self::Seccomp];

    /// Those that keep files out of reach should seccomp fail.
    pub const BEHIND: [Self; 2] = [Self::Landlock, Self::Namespaces];

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

/// Why no cell runs on this machine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TooLow {
    /// A wall of the floor, or one that the policy requires.
    #[error("the wall {0} is required, and this machine lacks it: {1}{hint}", hint = hint(.0))]
    Wall(Wall, String),
    /// None of [`Wall::BEHIND`].
    #[error(
        "behind seccomp one of the walls landlock and namespaces must stand, and this machine lacks both. landlock: \
         {landlock}{}. namespaces: {namespaces}{}. Either will do",
        hint(&Wall::Landlock),
        hint(&Wall::Namespaces)
    )]
    Behind {
        /// Why there is no Landlock.
        landlock: String,
        /// Why there are no namespaces.
        namespaces: String,
    },
}

/// What the machine's owner can do about a wall that is missing.
const fn hint(wall: &Wall) -> &'static str {
    match wall {
        Wall::Landlock => {
            " (it needs Linux 5.13 or later with `landlock` in the boot parameter `lsm=`, and a container that allows it)"
        }
        Wall::Namespaces => {
            " (they need the sysctls user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 and \
             kernel.apparmor_restrict_unprivileged_userns=0, where a kernel has these, and a container that allows them)"
        }
        Wall::Privileges | Wall::Rlimits | Wall::Seccomp => "",
    }
}

impl Walls {
    fn note(&mut self, wall: Wall, result: io::Result<String>) {
        match result {
            Ok(how) => self.up.insert(wall, how),
            Err(e) => self.missing.insert(wall, e.to_string()),
        };
    }

    /// What there must be and is not: the floor, and what is `required` beside it.
    pub fn lacks(&self, required: &[Wall]) -> Option<TooLow> {
        let reason = |w: Wall| self.missing.get(&w).cloned().unwrap_or_else(|| "it was not tried".into());
        let stands = |w: &Wall| self.up.contains_key(w);
        if let Some(wall) = Wall::FLOOR.iter().chain(required).find(|w| !stands(w)) {
            return Some(TooLow::Wall(*wall, reason(*wall)));
        }
        let lack = || TooLow::Behind { landlock: reason(Wall::Landlock), namespaces: reason(Wall::Namespaces) };
        (!Wall::BEHIND.iter().any(stands)).then(lack)
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

    /// What must stand and does not; nothing must where a test leaves walls out.
    pub(crate) fn lacks(&self, walls: &Walls) -> Option<TooLow> {
        if self.without.is_empty() { walls.lacks(&self.require) } else { None }
    }
}

/// First step, in a process with one thread. Returns in the process that goes on: the caller's, or with PID namespaces a
/// child of it while the caller's waits and ends as the child did. `before` runs there while files can still be opened;
/// afterwards there is one that can, the `image`, at the path that is returned.
pub(crate) fn enter<T>(
    terms: &Terms,
    image: Option<BorrowedFd<'_>>,
    before: impl FnOnce() -> io::Result<T>,
) -> io::Result<(Walls, String, T)> {
    let mut walls = Walls::default();
    close_inherited();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if terms.idle {
        idle()?;
    }
    let spaces = terms.put(Wall::Namespaces, namespaces::unshare);
    let rlimits = terms.put(Wall::Rlimits, keep_stack);
    let kept = before()?;
    let spaces = spaces.and_then(|inside| namespaces::empty_root(image).map(|()| inside));
    let path = match (&spaces, image) {
        (Ok(_), _) | (Err(_), None) => namespaces::IMAGE.into(),
        (Err(_), Some(image)) => namespaces::descriptor(image),
    };
    walls.note(Wall::Namespaces, spaces);
    walls.note(Wall::Privileges, terms.put(Wall::Privileges, drop_rights));
    walls.note(Wall::Rlimits, rlimits);
    walls.note(Wall::Landlock, terms.put(Wall::Landlock, || landlock(image)));
    // Each change of rights takes it away.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok((walls, path, kept))
}

/// Between the steps, in a process with one thread: the image is open, and no file can be opened any more.
pub(crate) fn image_is_open(walls: &Walls) -> io::Result<()> {
    if walls.up.contains_key(&Wall::Landlock) { landlock(None).map(|_| ()) } else { Ok(()) }
}

/// Second step, when everything that the cell needs is open and mapped. Holds for all threads.
pub(crate) fn seal(walls: &mut Walls, terms: &Terms, work: Work) -> io::Result<()> {
    let stack = walls.up.remove(&Wall::Rlimits).unwrap_or_default();
    let limits = || {
        let cap = |n| Rlimit { current: Some(n), maximum: Some(n) };
        setrlimit(Resource::Core, cap(0))?;
        setrlimit(Resource::Data, cap(terms.memory.saturating_add(HOST_MEMORY)))?;
        setrlimit(Resource::Stack, cap(FIRST_STACK))?;
        setrlimit(Resource::Fsize, cap(work.writes()))?;
        // Not 0, for that is also how many descriptors poll may watch: one can be opened once another is closed.
        setrlimit(Resource::Nofile, cap(1))?;
        // All threads there are to be have started.
        setrlimit(Resource::Nproc, cap(0))?;
        Ok(format!("no files, no core, no processes, bounded memory{stack}"))
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

/// Closes what the parent itself was started with and left open to its children: a cell has four descriptors.
#[expect(unsafe_code, reason = "closing descriptors by number")]
fn close_inherited() {
    const FIRST: u32 = crate::cell::IMAGE_FD.unsigned_abs() + 1;
    // SAFETY: this is the first that the process does, so nothing in it has opened any of them.
    unsafe {
        if libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) != 0 {
            // Before Linux 5.9: as many as there usually may be.
            for descriptor in FIRST..1 << 16 {
                libc::syscall(libc::SYS_close, descriptor);
            }
        }
    }
}

fn drop_rights() -> io::Result<String> {
    rustix::thread::set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    let keys = match leave_session() {
        Ok(()) => "",
        // A kernel or a container that has no keys to reach.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => " (there are none)",
        Err(e) => return Err(e),
    };
    Ok(format!("no new privileges, no capabilities, no keys of the session{keys}"))
}

/// A new session without keys in the place of the one that the donor logged in to.
#[expect(unsafe_code, reason = "keyctl has no wrapper here")]
fn leave_session() -> io::Result<()> {
    // SAFETY: joining without a name reads no memory.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if joined == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps the first thread's stack where it is: memory that grows down does not count as private, and any piece of it could
/// be stretched. Says what is to be said of it.
#[expect(unsafe_code, reason = "mseal has no wrapper here")]
fn keep_stack() -> io::Result<String> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let stack = maps.lines().find(|line| line.ends_with("[stack]")).and_then(|line| line.split_once(' '));
    let ends = stack.and_then(|(range, _)| range.split_once('-'));
    let number = |hex: &str| usize::from_str_radix(hex, 16).map_err(io::Error::other);
    let Some((start, end)) = ends else { return Err(io::Error::other("the stack is not in /proc/self/maps")) };
    let (start, end) = (number(start)?, number(end)?);
    // SAFETY: forbids changes of the mapping that nobody makes.
    let sealed = unsafe { libc::syscall(libc::SYS_mseal, start, end - start, 0) };
    Ok(if sealed == 0 { "" } else { ", but for the first stack, which Linux before 6.10 cannot seal" }.into())
}

/// Forbids all files but one.
fn landlock(image: Option<BorrowedFd<'_>>) -> io::Result<String> {
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V5))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rules(image.map(|fd| Ok::<_, RulesetError>(PathBeneath::new(fd, AccessFs::ReadFile))))?
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
