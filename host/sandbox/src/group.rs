//! A control group (cgroup v2) around all cells of a worker, where the machine has delegated one: the kernel then holds
//! the sum of what they take, and not only each of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
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
    /// if it is alone there, which moves this process into another group under it, or else beside it.
    ///
    /// # Errors
    /// Why this machine gives none: no cgroup v2, not delegated to this user, or no controller that limits anything.
    pub fn create(memory: u64, cells: u64) -> io::Result<Self> {
        let place = Place::find()?;
        place.enable()?;
        sweep(&place.base);
        let dir = place.base.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&dir)?;
        let group = Self::limited(dir.clone(), memory, cells);
        if group.is_err() {
            let _ = fs::remove_dir(dir);
        }
        group
    }

    /// Where a group would be made, and with what controllers; nothing is changed.
    ///
    /// # Errors
    /// As those of [`CellGroup::create`].
    pub fn possible() -> io::Result<String> {
        let Place { base, controllers, .. } = Place::find()?;
        Ok(format!("{} under {}", controllers.join(", "), base.display()))
    }

    fn limited(dir: PathBuf, memory: u64, cells: u64) -> io::Result<Self> {
        // A group beside processes is one for threads of theirs, if no memory controller forbids it.
        let kind = fs::read_to_string(dir.join("cgroup.type"))?;
        if kind.trim() != "domain" {
            return Err(io::Error::other(format!("a group here would be of type {:?}", kind.trim())));
        }
        let most = memory.saturating_add(cells.saturating_mul(CELL_BYTES)).saturating_add(IMAGE_BYTES);
        let tasks = cells.saturating_mul(CELL_TASKS);
        let limits = [("memory.max", most), ("memory.swap.max", 0), ("pids.max", tasks), ("cpu.idle", 1)];
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
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A group under which one can be made that has controllers.
struct Place {
    base: PathBuf,
    controllers: Vec<&'static str>,
    /// This process is alone in it and must go: the kernel gives controllers only to groups under one without processes.
    steps_down: bool,
}

impl Place {
    /// A service with `Delegate=yes` is alone in its own group; beside a terminal's shell, what is ours is the group around it.
    fn find() -> io::Result<Self> {
        let own = own_group()?;
        // The root of the hierarchy has no type, and may have processes.
        if !own.join("cgroup.type").exists() && is_delegated(&own) {
            return Self::at(own, false);
        }
        if is_delegated(&own) && is_alone(&own)? {
            return Self::at(own, true);
        }
        match own.parent() {
            Some(around) if is_delegated(around) => Self::at(around.into(), false),
            _ => Err(io::Error::other(format!(
                "{} is not delegated to this process; with systemd, `Delegate=yes` does that for a service",
                own.display()
            ))),
        }
    }

    fn at(base: PathBuf, steps_down: bool) -> io::Result<Self> {
        let all = fs::read_to_string(base.join("cgroup.controllers"))?;
        let has = |c: &&str| all.split_whitespace().any(|h| h == *c);
        let controllers: Vec<_> = ["memory", "pids", "cpu"].into_iter().filter(has).collect();
        if controllers.is_empty() {
            return Err(io::Error::other(format!(
                "of the controllers of {} none is memory, pids or cpu: {:?}",
                base.display(),
                all.trim()
            )));
        }
        Ok(Self { base, controllers, steps_down })
    }

    fn enable(&self) -> io::Result<()> {
        if self.steps_down {
            let lower = self.base.join(LOWER);
            fs::create_dir(&lower)
                .or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) })?;
            fs::write(lower.join("cgroup.procs"), std::process::id().to_string())?;
        }
        let enable: String = self.controllers.iter().map(|c| format!("+{c} ")).collect();
        fs::write(self.base.join("cgroup.subtree_control"), enable.trim())
            .map_err(|e| io::Error::other(format!("{} gives no controllers: {e}", self.base.display())))
    }
}

/// Whether groups may be made under it: it is an ordinary user's own, or systemd says so, or there is no systemd to ask.
fn is_delegated(group: &Path) -> bool {
    let user = rustix::process::geteuid();
    if !user.is_root() {
        return group.metadata().is_ok_and(|m| m.uid() == user.as_raw());
    }
    let says = |name| {
        let mut value = [0; 1];
        rustix::fs::getxattr(group, name, &mut value) == Ok(1) && value == *b"1"
    };
    says("trusted.delegate") || says("user.delegate") || !Path::new("/run/systemd/system").exists()
}

/// Whether no other process is in it.
fn is_alone(group: &Path) -> io::Result<bool> {
    let pid = std::process::id().to_string();
    Ok(fs::read_to_string(group.join("cgroup.procs"))?.lines().all(|process| process == pid))
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

/// Removes what workers left that were killed.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let worker = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if worker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
