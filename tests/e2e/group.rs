//! The control group around all cells (cgroup v2). Only some machines delegate one: elsewhere this says that it was skipped.
//! `make vm` runs it on a machine that does.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use eider_sandbox::{Cell, CellCommand, CellGroup};
use eider_tests::{eider, process, programs};

const MEMORY: u64 = 1 << 30;

/// The group of a process.
fn group_of(pid: u32) -> PathBuf {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}

fn number(dir: &Path, file: &str) -> u64 {
    fs::read_to_string(dir.join(file)).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn all_cells_are_in_a_group_that_limits_them_and_goes_with_the_worker() {
    let all =
        |group: CellGroup| match ["memory.max", "pids.max", "cpu.idle"].iter().find(|l| !group.holds().contains(*l)) {
            None => Ok(group),
            Some(lacks) => Err(std::io::Error::other(format!("{lacks} is not delegated"))),
        };
    let group = match CellGroup::create(MEMORY, 2).and_then(all) {
        Ok(group) => group,
        Err(why) if std::env::var_os("EIDER_VM").is_some() => panic!("this machine should give a group: {why}"),
        Err(why) => return println!("SKIPPED: no whole control group, so nothing of it was tested: {why}"),
    };
    let dir = tempfile::tempdir().unwrap();
    let bare = CellCommand::new(eider());
    let image = programs::image(dir.path(), &bare, &programs::text("good"));
    let command = CellCommand { group: Some(group.clone()), ..bare.clone() };
    let cell = Cell::spawn(&command, &image).await.unwrap();
    let outer = cell.pid().unwrap();
    let held = group_of(outer);
    assert!(held.ends_with(format!("eider-cells-{}", std::process::id())), "{held:?}");
    assert!(process::descendants(outer).into_iter().all(|pid| group_of(pid) == held));
    assert_ne!(group_of(std::process::id()), held, "the worker itself is outside");
    let most = number(&held, "memory.max");
    assert!((MEMORY..2 * MEMORY).contains(&most) && group.holds().contains(&format!("memory.max {most}")), "{most}");
    assert!(number(&held, "memory.current") > 1 << 20);
    assert_eq!((number(&held, "pids.max"), number(&held, "cpu.idle")), (64, 1));

    // A job runs there.
    let working = Cell::spawn(&command, &image).await.unwrap();
    assert_eq!(group_of(working.pid().unwrap()), held);
    programs::run_good(working).await;

    // What the group does not give, no cell has.
    fs::write(held.join("memory.max"), "1M").unwrap();
    process::eventually(|| match process::is_alive(outer) {
        true => Err(format!("{} bytes are held of 1 MiB", number(&held, "memory.current"))),
        false => Ok(()),
    })
    .await;
    fs::write(held.join("memory.max"), most.to_string()).unwrap();
    let cell = Cell::spawn(&command, &image).await.unwrap();
    let outer = cell.pid().unwrap();
    fs::write(held.join("pids.max"), "1").unwrap();
    assert!(Cell::spawn(&command, &image).await.is_err(), "a cell was started over the limit");
    assert!(Cell::spawn(&bare, &image).await.is_ok());

    drop((group, command));
    assert!(!held.exists() && !process::is_alive(outer), "cells outlived the group");
    // What a worker left that was killed is removed by the next one, and what a living one has is not.
    const OVER_PID_MAX: u32 = (4 << 20) + 1;
    let [dead, live] = [OVER_PID_MAX, 1].map(|pid| held.with_file_name(format!("eider-cells-{pid}")));
    fs::create_dir(&dead).unwrap();
    fs::create_dir(&live).unwrap();
    drop(CellGroup::create(MEMORY, 2).unwrap());
    assert!(!dead.exists() && live.exists());
    fs::remove_dir(live).unwrap();
}
