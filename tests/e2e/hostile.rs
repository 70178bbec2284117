//! Statements that want more than the sandbox has: each is refused with an error that says so, by agreement of three.
#![allow(clippy::unwrap_used)]

use eider_protocol::{FailureKind, Outcome};
use eider_tests::{Behaviour::Honest, Grid, Job};

/// One of each kind, what it asks for and what the refusal says; `tests/hostile-sql` has the others.
const REFUSED: [(&str, &str); 5] = [
    ("COPY (SELECT 1) TO '/tmp/x.csv'", "nothing to write to"),
    ("FROM read_text('/etc/passwd')", "not an input of this job"),
    ("FROM 'http://127.0.0.1/x.parquet'", "no network"),
    ("INSTALL httpfs", "installs and loads no extensions"),
    ("SET memory_limit = '100GB'", "configuration has been locked"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sandbox_lacks_is_refused_and_nobody_is_blamed() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    for (sql, says) in REFUSED {
        let ran = grid.run(&Job::new(sql)).await.unwrap();
        let Some(Outcome::Failed { kind, message, .. }) = &ran.record.outcome else {
            panic!("{sql}: {} {}", ran.record.end, ran.record.reason)
        };
        assert_eq!(*kind, FailureKind::Denied, "{sql}: {message}");
        assert!(message.contains(says), "{sql}: {message}");
        assert!(ran.record.peers.iter().all(|p| !p.at_fault), "{sql}: somebody was blamed");
        assert!(ran.bytes.is_empty(), "{sql}");
    }
    assert_eq!(grid.run(&Job::new("SELECT 1")).await.unwrap().csv().unwrap(), "1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_sql_gets_the_message_of_duckdb_with_its_position() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    for (sql, says) in [
        ("SELEC 1", "syntax error"),
        ("SELECT nothere FROM range(3)", "LINE 1"),
        ("SELECT * FROM missing_table", "does not exist"),
        ("SELECT 'x'::INTEGER", "Could not convert"),
        ("SELECT 1; SELECT error('mine')", "mine"),
        ("--", "no statement"),
    ] {
        let ran = grid.run(&Job::new(sql)).await.unwrap();
        let Some(Outcome::Failed { kind, message, .. }) = &ran.record.outcome else {
            panic!("{sql}: {}", ran.record.reason)
        };
        assert_eq!((*kind, ran.record.end.word()), (FailureKind::Query, "job-failed"), "{sql}: {message}");
        assert!(message.contains(says), "{sql}: {message}");
        assert!(ran.record.peers.iter().all(|p| !p.at_fault));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_bombs_end_by_agreement_and_the_next_job_is_unharmed() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let bomb = Job { memory: 256 << 20, ..Job::new("SELECT list(i || repeat('x', 1000)) FROM range(100000000) t(i)") };
    let ran = grid.run(&bomb).await.unwrap();
    let Some(Outcome::Failed { kind, .. }) = &ran.record.outcome else { panic!("{}", ran.record.reason) };
    assert_eq!(*kind, FailureKind::Memory, "{}", ran.record.reason);
    let mut endless = Job::new("SELECT count(*) FROM range(1000000000000) a, range(1000000) b");
    endless.plan.deadline_ms = 1500;
    let ran = grid.run(&endless).await.unwrap();
    assert!(["deadline-passed", "no-quorum"].contains(&ran.record.end.word()), "{}", ran.record.reason);
    assert_eq!(grid.run(&Job::new("SELECT 1").of(3, 3)).await.unwrap().csv().unwrap(), "1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_arrive_as_they_were() {
    let grid = Grid::start(&[Honest, Honest, Honest], &[]).unwrap();
    let sql = "SELECT 1.50::DECIMAL(10,2) d, 170141183460469231731687303715884105727::HUGEINT h, \
        (-170141183460469231731687303715884105728)::HUGEINT hn, 340282366920938463463374607431768211455::UHUGEINT u, \
        TIMESTAMP '2024-02-29 12:34:56.789' ts, 'b'::ENUM('a','b') e, '\\x00\\xFF'::BLOB b, \
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID id, NULL::INTEGER n, true t, DATE '1992-01-02' dt, '101'::BIT bits";
    let ran = grid.run(&Job::new(sql).of(3, 3)).await.unwrap();
    assert_eq!(
        ran.csv().unwrap().trim(),
        "1.50,170141183460469231731687303715884105727,-170141183460469231731687303715884105728,\
         340282366920938463463374607431768211455,2024-02-29T12:34:56.789,b,00ff,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,,true,\
         1992-01-02,101",
        "{}",
        ran.record.reason
    );
    let nested = "SELECT [1, NULL, 3] l, {'a': 1, 'b': ['x']} s, MAP {'k': 2} m, INTERVAL '1 month 2 days' i, \
        TIMESTAMPTZ '2024-01-01 00:00:00+00' tz, NULL z, ['a'::ENUM('a')] le, [1,2]::INTEGER[2] arr, TIMETZ '01:02:03+01' tt";
    let ran = grid.run(&Job::new(nested).of(3, 3)).await.unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(&ran.bytes[..], None).unwrap();
    let types: Vec<String> = reader.schema().fields().iter().map(|f| f.metadata()["duckdb.type"].clone()).collect();
    assert_eq!(types[0], "INTEGER[]");
    assert!(types[1].starts_with("STRUCT(") && types[2].starts_with("MAP(") && types[3] == "INTERVAL", "{types:?}");
    assert_eq!(types[4], "TIMESTAMP WITH TIME ZONE");
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let table = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    for part in [
        "[1, , 3]",
        "{a: 1, b: [x]}",
        "{k: 2}",
        "1 mons 2 days",
        "2024-01-01T00:00:00Z",
        "[a]",
        "[1, 2]",
        "01:02:03+01",
    ] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}
