//! Every type of DuckDB's arrives in each form of a result as what it was: native DuckDB reads the files and compares.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};

use eider_protocol::Outcome;
use eider_results::{Formatter, OutputFormat};
use eider_tests::{Behaviour::Honest, Grid, Job, native};

const QUERIES: [&str; 5] = [
    "SELECT row(1, 'b'::ENUM('a', 'b'), {i: INTERVAL 1 MONTH}) r, [row('x', 340282366920938463463374607431768211455::UHUGEINT)] l",
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

/// What runs, and what native DuckDB is to find in the files: for a UNION the struct of its tag and its members.
fn queries() -> Vec<(String, String)> {
    let mut queries: Vec<_> = QUERIES.map(|sql| (sql.to_owned(), sql.to_owned())).into();
    let union = "CASE WHEN union_tag(\"union\") IS NOT NULL THEN \
                 {tag: union_tag(\"union\")::VARCHAR, name: \"union\".name, age: \"union\".age} END AS \"union\"";
    let all = "SELECT * FROM test_all_types()";
    queries.push((all.into(), all.replace('*', &format!("* REPLACE ({union})"))));
    // A member that is called as the tag would be, one that is NULL, and unions within other types and within themselves.
    const U: &str = "UNION(num INTEGER, tag VARCHAR, e ENUM('a', 'b'), l INTEGER[])";
    let values = format!(
        "SELECT * FROM (VALUES (0, NULL), (1, 7::{U}), (2, 'x'::{U}), (3, 'b'::ENUM('a', 'b')::{U}), (4, [1, NULL]::{U}), \
         (5, NULL::INTEGER::{U})) v(i, u)"
    );
    let nested = |wrapped: &str, from: &str| {
        format!(
            "SELECT u, [u, NULL] l, {{s: u, i: i}} s, MAP {{i: u}} m, array_value(u, u) a, row(i, u) t, {wrapped} w FROM ({from})"
        )
    };
    let structs = format!(
        "SELECT i, CASE WHEN union_tag(u) IS NOT NULL THEN \
         {{tag_: union_tag(u)::VARCHAR, num: u.num, tag: u.tag, e: u.e, l: u.l}} END u FROM ({values})"
    );
    queries.push((nested("union_value(w := u)", &values), nested("{tag: 'w', w: u}", &structs)));
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_survives_each_form() {
    let grid = Grid::start(&[Honest], &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let queries = queries();
    for (i, (sql, want)) in queries.iter().enumerate() {
        let ran = grid.run(&Job::new(sql).of(1, 1)).await.unwrap();
        assert!(
            matches!(ran.record.outcome, Some(Outcome::Completed { .. })),
            "{sql}: {} {}",
            ran.record.reason,
            ran.fate(&grid, 0)
        );
        let at = |suffix: &str| folder.path().join(format!("{i}.{suffix}"));
        fs::write(at("sql"), want).unwrap();
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
        assert!(said.contains(&format!("{} queries survive", queries.len())), "{said}");
    }
}
