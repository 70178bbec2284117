//! What a cell gives up before it runs a stranger's engine.
//!
//! Today: no new privileges, no core dumps, no files written, few descriptors. The rest of the operating system's wall
//! (seccomp, Landlock, namespaces, cgroups) belongs here too and is not built yet; the README and the worker's start say so.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Descriptors that a cell may have open: its socket, the image, the standard ones.
const DESCRIPTORS: u64 = 16;

/// Locks the process down. To be called when everything that the cell needs is open.
pub(crate) fn enter() -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let cap = |n| Rlimit { current: Some(n), maximum: Some(n) };
    setrlimit(Resource::Core, cap(0))?;
    setrlimit(Resource::Fsize, cap(0))?;
    setrlimit(Resource::Nofile, cap(DESCRIPTORS))?;
    Ok(())
}
