//! Hostile SQL: every file of `tests/hostile-sql` runs on two real workers, which must agree on how it ends.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use eider_protocol::FailureKind;
use eider_tests::hostile_sql::{Ends, Statement, statements};
use eider_tests::{Behaviour::Honest, Grid, Job};

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_statement_ends_as_it_should_and_the_next_job_is_unharmed() {
    const WORKERS: usize = 2;
    let statements = statements();
    let grid = Grid::start(&[Honest; WORKERS], &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut wrong, mut slowest) = (vec![], vec![]);
    for (name, statement) in &statements {
        if let Some(before) = &statement.after {
            grid.run(&statements[before].job(WORKERS, dir.path())).await.unwrap();
        }
        let started = Instant::now();
        let ran = grid.run(&statement.job(WORKERS, dir.path())).await.unwrap();
        let took = started.elapsed();
        slowest.push((took, name));
        if let Err(e) = statement.check(&ran, took) {
            wrong.push(format!("{name}: {e}"));
        }
        let next = grid.run(&Job::new("SELECT 42").of(WORKERS, WORKERS)).await.unwrap();
        assert_eq!(next.record.end.word(), "verified", "the job after {name}: {}", next.record.reason);
        assert_eq!(next.csv().unwrap(), "42\n", "the job after {name}");
    }
    slowest.sort();
    slowest.iter().rev().take(10).for_each(|(took, name)| println!("{took:8.1?} {name}"));
    assert!(wrong.is_empty(), "{} of {} end otherwise:\n\n{}", wrong.len(), statements.len(), wrong.join("\n\n"));
}

#[test]
fn a_file_that_is_not_understood_is_an_error() {
    for (text, says) in [
        ("SELECT 1", "does not start with a comment"),
        ("-- No sentence\nSELECT 1", "not a sentence"),
        ("-- S.\nSELECT 1", "how it ends"),
        ("-- S.\n-- ends: well\nSELECT 1", "not understood"),
        ("-- S.\n-- ends: denied\nSELECT 1", "what the message contains"),
        ("-- S.\n-- ends: harmless\nSELECT 1", "either rows or a result"),
        ("-- S.\n-- ends: harmless\n-- rows: 1\n-- result: 1\nSELECT 1", "either rows or a result"),
        ("-- S.\n-- ends: query x\n-- rows: 1\nSELECT 1", "only a harmless"),
        ("-- S.\n-- ends: deadline\nSELECT 1", "does not say which"),
        ("-- S.\n-- ends: deadline\n-- deadline: soon\nSELECT 1", "not understood"),
        ("-- S.\n-- ends: query x\n-- colour: red\nSELECT 1", "not understood"),
        ("-- S.\n-- ends: query x\n-- ends: query x\nSELECT 1", "twice"),
        ("-- S.\n-- ends: query x\n-- repeat: 3\nSELECT 1", "to be repeated"),
        ("-- S.\n-- ends: query x\nSELECT \\u{d800}", "no character"),
        ("-- S.\n-- ends: query x", "no statement"),
    ] {
        let e = Statement::parse(text).unwrap_err();
        assert!(e.contains(says), "{text}: {e}");
    }
    let parsed =
        Statement::parse("-- S.\n-- ends: query x y\n-- repeat: 2\nSELECT {{{n} AS c{n-1}, }}\\u{30}{{{}}}").unwrap();
    assert_eq!(parsed.sql, "SELECT 1 AS c0, 2 AS c1, 0{}{}");
    assert_eq!(parsed.ends, Ends::Fails(FailureKind::Query, "x y".into()));
}
