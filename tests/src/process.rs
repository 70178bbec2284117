//! What the kernel says of processes, for tests that look at workers and cells from outside.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The processes that `pid` has started, and those that they have.
pub fn descendants(pid: u32) -> Vec<u32> {
    below(children(pid))
}

/// As [`descendants`], of the calling thread alone.
pub fn descendants_of_thread() -> Vec<u32> {
    below(listed("/proc/thread-self/children"))
}

/// The living processes that the calling thread itself has started.
pub fn children_of_thread() -> Vec<u32> {
    let mut all = listed("/proc/thread-self/children");
    all.retain(|pid| is_alive(*pid));
    all
}

/// Whether it runs. Its memory is gone with the process; what may be left until its parent looks is its exit status.
pub fn is_alive(pid: u32) -> bool {
    // The first thread may have ended before the others.
    threads(pid).any(|thread| {
        let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

/// A size of the process in bytes, as `VmHWM` or `RssAnon` in its status; 0 of a process that is gone.
pub fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// Resident bytes that the process shares with no other.
pub fn private_memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let lines = rollup.lines().filter(|l| l.starts_with("Private_"));
    lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() << 10
}

/// What its descriptors are open on.
pub fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|e| Some(fs::read_link(e.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// Looks again and again until there is what must come, for at most 20 s.
///
/// # Panics
/// With the last reason why it was not there.
pub async fn eventually<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let patience = Instant::now() + Duration::from_secs(40);
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < patience, "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn below(mut front: Vec<u32>) -> Vec<u32> {
    let mut found = vec![];
    while let Some(pid) = front.pop() {
        front.extend(children(pid));
        found.push(pid);
    }
    found.retain(|pid| is_alive(*pid));
    found
}

/// Each thread has children of its own.
fn children(pid: u32) -> Vec<u32> {
    threads(pid).flat_map(|thread| listed(&thread.join("children").to_string_lossy())).collect()
}

/// What the kernel has of each of its threads.
pub fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn listed(file: &str) -> Vec<u32> {
    let list = fs::read_to_string(file).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
