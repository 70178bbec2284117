//! Every type of DuckDB's arrives in each form of a result as what it was: native DuckDB reads the files and compares.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};

use eider_protocol::Outcome;
use eider_results::{Formatter, OutputFormat};
use eider_tests::{Behaviour::Honest, Grid, Job, native};

/// UNION is left out: it has no form in Parquet.
const QUERIES: [&str; 5] = [
    "SELECT * EXCLUDE (\"union\") FROM test_all_types()",
    "SELECT ['b'::ENUM('a', 'b'), NULL] l, {e: 'a'::ENUM('a', 'b'), u: 340282366920938463463374607431768211455::UHUGEINT} s, \
     MAP {'a'::ENUM('a', 'b'): TIMETZ '01:02:03+01'} m, ['a', 'b']::ENUM('a', 'b')[2] a, [['101'::BIT]] b, \
     {i: [INTERVAL '1 month 2 days 3 seconds']} i, MAP {1: 'one'} w, MAP {DATE '2020-02-29': [1, NULL]} d",
    "SELECT ['infinity'::DATE, '-infinity', '2020-02-29', NULL] d, {t: 'infinity'::TIMESTAMP} t, \
     ['5877642-06-25 (BC)'::DATE] far, {t: '290309-12-22 (BC) 00:00:00'::TIMESTAMP} past, \
     ['-infinity'::TIMESTAMPTZ, '294247-01-10 04:00:54.775806+00'] z",
    "SELECT 'infinity'::TIMESTAMP_S s, 'infinity'::TIMESTAMP_MS ms, TIMESTAMP_NS '2262-04-11 23:47:16.854775806' ns, \
     TIMESTAMP_S '2020-02-29 12:34:56' a, TIMESTAMP_MS '2020-02-29 12:34:56.789' b",
    "SELECT d::DOUBLE d, f::FLOAT[] f FROM (VALUES ('1.5', ['nan']), ('nan', ['inf', NULL]), ('inf', ['-inf']), (NULL, NULL)) t(d, f)",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_type_survives_each_form() {
    let grid = Grid::start(&[Honest], &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (i, sql) in QUERIES.iter().enumerate() {
        let ran = grid.run(&Job::new(sql).of(1, 1)).await.unwrap();
        assert!(
            matches!(ran.record.outcome, Some(Outcome::Completed { .. })),
            "{sql}: {} {}",
            ran.record.reason,
            ran.fate(&grid, 0)
        );
        let at = |suffix: &str| folder.path().join(format!("{i}.{suffix}"));
        fs::write(at("sql"), sql).unwrap();
        for (format, suffix) in [
            (OutputFormat::Parquet, "parquet"),
            (OutputFormat::Json, "json"),
            (OutputFormat::Csv, "csv"),
            (OutputFormat::Table, "txt"),
        ] {
            let mut formatter = Formatter::new(format, Box::new(File::create(at(suffix)).unwrap()));
            formatter.write(ran.bytes.clone().into()).and_then(|()| formatter.finish()).unwrap();
            let written = fs::read(at(suffix)).unwrap();
            assert!(!String::from_utf8_lossy(&written).contains("ERROR"), "{sql} as {suffix}");
        }
    }
    if let Some(said) = native(&["types".as_ref(), folder.path().as_os_str()]) {
        assert!(said.contains(&format!("{} queries survive", QUERIES.len())), "{said}");
    }
}
