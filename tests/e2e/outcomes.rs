//! An outcome is the same on every honest machine: what one of them lacks ends its job without an outcome, and blames nobody.
#![allow(clippy::unwrap_used)]

use eider_sandbox::{Baseline, Cell, CellCommand, CellError, Finished, Lack};
use eider_tests::{eider, process, programs, target_dir};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

async fn cell(program: &str) -> (Cell, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let command = CellCommand::new(eider());
    let image = programs::image(dir.path(), &command, &programs::text(program));
    (Cell::spawn(&command, &image).await.unwrap(), dir)
}

/// Leaves a waiting cell so many bytes more than it has.
fn leave_memory(cell: &Cell, bytes: u64) {
    let outer = cell.pid().unwrap();
    for pid in process::descendants(outer).into_iter().chain([outer]) {
        let most = Some(process::memory(pid, "VmData") + bytes);
        let limit = Rlimit { current: most, maximum: most };
        prlimit(Some(Pid::from_raw(pid.cast_signed()).unwrap()), Resource::Data, limit).unwrap();
    }
}

#[tokio::test]
async fn memory_that_the_machine_lacks_is_no_outcome() {
    // The program itself would go on without, and say so in its result.
    let (scarce, _dir) = cell("memory-within").await;
    leave_memory(&scarce, 1 << 20);
    let ran = programs::run(scarce).await;
    assert!(matches!(ran, Err(CellError::Lacks(Lack::Memory, _))), "{ran:?}");
    let (enough, _dir) = cell("memory-within").await;
    leave_memory(&enough, 64 << 20);
    let ran = programs::run(enough).await;
    assert!(matches!(ran, Ok(Finished::Done { .. })), "{ran:?}");
}

#[tokio::test]
async fn native_stack_that_is_used_up_is_no_outcome() {
    let (cell, _dir) = cell("stack-recursion").await;
    let ran = programs::run(cell).await;
    assert!(matches!(ran, Err(CellError::Lacks(Lack::Stack, _))), "{ran:?}");
}

#[tokio::test]
async fn a_failure_has_its_metering() {
    let (cell, _dir) = cell("write-endless").await;
    let Ok(Finished::Failed { usage, .. }) = programs::run(cell).await else { panic!("it ends by its result") };
    assert!(usage.memory > 0);
}

#[tokio::test]
async fn a_process_that_counts_otherwise_ends_as_others_do() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("eider-drill-other-floats");
    std::os::unix::fs::symlink(target_dir().join("eider-drill"), &odd).unwrap();
    let mut ends = vec![];
    for (n, program) in [eider(), odd].into_iter().enumerate() {
        let command = CellCommand::new(program);
        let image = programs::image(&dir.path().join(n.to_string()), &command, &programs::text("floats-chaotic"));
        let cell = Cell::spawn(&command, &image).await.unwrap();
        let Ok(Finished::Done { rows, usage }) = programs::run(cell).await else { panic!("{n}") };
        ends.push((rows, usage));
    }
    assert_eq!(ends[0], ends[1]);
}

/// The rest of it is `make determinism`.
#[tokio::test]
async fn images_for_later_processors_end_the_same() {
    let mut ends = vec![];
    for baseline in Baseline::ALL.into_iter().filter(|b| programs::runs_here(*b)) {
        let dir = tempfile::tempdir().unwrap();
        let command = CellCommand { baseline, ..CellCommand::new(eider()) };
        let image = programs::image(dir.path(), &command, &programs::text("floats-chaotic"));
        let cell = Cell::spawn(&command, &image).await.unwrap();
        let Ok(Finished::Done { rows, usage }) = programs::run(cell).await else { panic!("{baseline}") };
        assert!(rows != 0 && usage.fuel.unwrap() > 1_000_000, "{usage:?}");
        ends.push((baseline, rows, usage));
    }
    println!("{ends:?}");
    assert!(ends.iter().all(|(_, rows, usage)| (*rows, *usage) == (ends[0].1, ends[0].2)), "{ends:?}");
}
