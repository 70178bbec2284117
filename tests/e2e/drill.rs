//! The escape drill: an engine that may make system calls, which is what a broken first wall would give it, in a cell whose
//! second wall stands; without seccomp, to see the layers behind it; and without any, to see that the drill is real.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::os::unix::fs::symlink;

use eider_sandbox::{Cell, CellCommand, CellError, Finished, JobSpec};
use eider_tests::{Escape, NoBroker, programs, target_dir};

/// Tells the host, by its report, to do what the seed's first four bytes say.
const PRISONER: &str = r#";; Asks the host for what the seed says.
;; ends: completed
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $report (i32.load (local.get 3)))
  (call $done (i64.const 0)))"#;

/// What became of it, in words: `escaped`, `errno N`, or how the cell died.
async fn attempt(program: &str, escape: Escape) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(program);
    symlink(target_dir().join("eider-drill"), &path).unwrap();
    let command = CellCommand::new(path);
    let image = programs::image(&dir.path().join("engines"), &command, PRISONER);
    let cell = Cell::spawn(&command, &image).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let about = match escape {
        Escape::Connect => u32::from(listener.local_addr().unwrap().port()),
        _ => std::process::id(),
    };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&(about << 8 | escape as u32).to_le_bytes());
    let job =
        JobSpec { sql: String::new(), time_us: 0, seed, memory: 64 << 20, result: 1 << 20, fuel: None, inputs: vec![] };
    match cell.run(job, &mut NoBroker).await {
        Ok(Finished::Failed { message, .. }) => message,
        Ok(done @ Finished::Done { .. }) => format!("{done:?}"),
        Err(CellError::Died(how)) => how,
        Err(e) => format!("unexpected: {e}"),
    }
}

#[tokio::test]
async fn every_way_out_ends_the_cell() {
    for escape in Escape::ALL {
        let ended = attempt("eider-drill", escape).await;
        assert!(ended.contains("ended by its jail"), "{escape:?}: {ended}");
    }
    assert!(!std::path::Path::new("/tmp/eider-drill").exists());
}

#[tokio::test]
async fn behind_the_filter_other_layers_hold() {
    // A process of its own in its namespace may make processes, rings and code there.
    for escape in [
        Escape::Open,
        Escape::Write,
        Escape::Connect,
        Escape::Exec,
        Escape::Trace,
        Escape::Kill,
        Escape::ReadParent,
        Escape::IoUring,
    ] {
        let ended = attempt("eider-drill-no-seccomp", escape).await;
        assert!(ended.starts_with("errno "), "{escape:?}: {ended}");
    }
    assert!(!std::path::Path::new("/tmp/eider-drill").exists());
}

#[tokio::test]
async fn without_walls_the_drill_gets_out() {
    for escape in [Escape::Open, Escape::Connect, Escape::Fork, Escape::Kill, Escape::WriteCode] {
        let ended = attempt("eider-drill-no-walls", escape).await;
        assert_eq!(ended, "escaped", "{escape:?}");
    }
    let ended = attempt("eider-drill-no-walls", Escape::Exec).await;
    assert!(ended.starts_with("exit status: 0"), "it became another program: {ended}");
}
