//! The 22 queries of TPC-H at scale factor 0.1: the same values as native DuckDB, the same root and fuel on every worker.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;

use eider_protocol::Outcome;
use eider_results::{Formatter, OutputFormat};
use eider_sandbox::Variant;
use eider_tests::{Behaviour::Honest, Grid, Job, native, target_dir, tpch};

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_equal_native_and_agree_on_root_and_fuel() {
    let data = target_dir().join("demo").join("tpch-sf0.1");
    tpch::generate(&data, 0.1).unwrap();
    let grid = Grid::start(&[Honest, Honest, Honest], &["--metered"]).unwrap();
    let results = tempfile::tempdir().unwrap();
    for n in 1..=22 {
        let mut job = Job::new(&tpch::query(n).unwrap()).of(3, 3);
        job.variant = Variant::Metered;
        job.inputs = tpch::inputs(&data);
        let ran = grid.run(&job).await.unwrap();
        // A digest covers root, length, rows and metering: three that agree agree on the fuel too.
        assert_eq!(
            (ran.record.end.word(), ran.record.agreed.len()),
            ("verified", 3),
            "query {n}: {}",
            ran.record.reason
        );
        let Some(Outcome::Completed { metering, .. }) = ran.record.outcome else { panic!() };
        assert!(metering.fuel.unwrap() > 1_000_000, "query {n}");
        let file = File::create(results.path().join(format!("q{n:02}.parquet"))).unwrap();
        let mut parquet = Formatter::new(OutputFormat::Parquet, Box::new(file));
        parquet.write(ran.bytes.into()).and_then(|()| parquet.finish()).unwrap();
    }
    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("tpch");
    let words = ["compare".as_ref(), data.as_os_str(), results.path().as_os_str(), queries.as_os_str()];
    if let Some(said) = native(&words) {
        assert!(said.contains("22 queries equal"), "{said}");
    }
}
