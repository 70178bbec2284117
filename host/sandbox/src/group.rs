//! A control group (cgroup v2) around all cells of a worker, where the machine has delegated one: the kernel then holds
//! the sum of what they take, and not only each of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Linear memory apart, a cell's private memory and its share of the engine's image, bytes.
const CELL_BYTES: u64 = 128 << 20;
/// Pages of the engine's image, which count where they are read first, bytes.
const IMAGE_BYTES: u64 = 512 << 20;
/// Processes and threads of one cell: two processes, and the compiler's threads.
const CELL_TASKS: u64 = 32;
const PREFIX: &str = "eider-cells-";
/// Where a worker goes that is alone in a group of its own, to make others under that.
const LOWER: &str = "eider-worker";

/// The group, gone with the last handle to it.
#[derive(Clone, Debug)]
pub struct CellGroup(Arc<Group>);

#[derive(Debug)]
struct Group {
    dir: PathBuf,
    procs: File,
    holds: String,
}

impl CellGroup {
    /// Makes a group with what of `memory` (bytes, for all jobs together) and `cells` can be held: under this process's own
    /// if that was delegated to it, which may move this process into another group under it, or else beside it.
    ///
    /// # Errors
    /// Why this machine gives none: no cgroup v2, not delegated to this user, or no controller that limits anything.
    pub fn create(memory: u64, cells: u64) -> io::Result<Self> {
        let base = delegated(&own_group()?)?;
        sweep(&base);
        let dir = base.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&dir)?;
        let most = memory.saturating_add(cells.saturating_mul(CELL_BYTES)).saturating_add(IMAGE_BYTES);
        let limits = [("memory.max", most), ("pids.max", cells.saturating_mul(CELL_TASKS)), ("cpu.idle", 1)];
        let held: Vec<_> = limits.iter().filter(|(file, n)| fs::write(dir.join(file), n.to_string()).is_ok()).collect();
        let holds = held.iter().map(|(file, n)| format!("{file} {n}")).collect::<Vec<_>>().join(", ");
        let procs = OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?;
        Ok(Self(Arc::new(Group { dir, procs, holds })))
    }

    /// Which limits stand.
    pub fn holds(&self) -> &str {
        &self.0.holds
    }

    /// Puts the calling process in. To be called between fork and exec: does nothing but write.
    pub(crate) fn enter(&self) -> io::Result<()> {
        (&self.0.procs).write_all(b"0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
        // It can go when the last process in it is gone, a moment after.
        for _ in 0..20 {
            if fs::remove_dir(&self.dir).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// A group under which one can be made that has controllers.
fn delegated(own: &Path) -> io::Result<PathBuf> {
    let Err(why) = enable(own) else { return Ok(own.into()) };
    // The kernel gives controllers only to groups under one without processes. A service with `Delegate=yes` is alone in its
    // own and may step down; in a terminal's there are others, and what the user may write is the group around it.
    if why.kind() == io::ErrorKind::ResourceBusy && step_down(own).and_then(|()| enable(own)).is_ok() {
        return Ok(own.into());
    }
    if let Some(around) = own.parent().filter(|around| enable(around).is_ok()) {
        return Ok(around.into());
    }
    Err(io::Error::other(format!(
        "{} is not delegated to this process ({why}); with systemd, `Delegate=yes` does that for a service",
        own.display()
    )))
}

/// Gives the groups under this one what limits anything.
fn enable(group: &Path) -> io::Result<()> {
    let controllers = fs::read_to_string(group.join("cgroup.controllers"))?;
    let has = |c: &&str| controllers.split_whitespace().any(|h| h == *c);
    let wanted: Vec<_> = ["memory", "pids", "cpu"].into_iter().filter(has).map(|c| format!("+{c}")).collect();
    if wanted.is_empty() {
        return Err(io::Error::other(format!(
            "of its controllers none is memory, pids or cpu: {:?}",
            controllers.trim()
        )));
    }
    fs::write(group.join("cgroup.subtree_control"), wanted.join(" "))
}

/// Moves this process into a group under its own, if no other process is there.
fn step_down(own: &Path) -> io::Result<()> {
    let pid = std::process::id().to_string();
    if fs::read_to_string(own.join("cgroup.procs"))?.lines().any(|process| process != pid) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let lower = own.join(LOWER);
    fs::create_dir(&lower).or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) })?;
    fs::write(lower.join("cgroup.procs"), pid)
}

/// This process's group in the unified hierarchy, as it was before it stepped down.
fn own_group() -> io::Result<PathBuf> {
    let none = |what: &str| io::Error::other(format!("this machine has no cgroup v2: {what}"));
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&"cgroup2"));
    let mount = mount.ok_or_else(|| none("it is not mounted"))?;
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::")).ok_or_else(|| none("this process is in none"))?;
    let path = Path::new(mount[1]).join(path.trim_start_matches('/'));
    Ok(path.parent().filter(|_| path.ends_with(LOWER)).map_or(path.clone(), Path::to_path_buf))
}

/// Removes what workers left that were killed. A group with processes in it stays.
fn sweep(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
