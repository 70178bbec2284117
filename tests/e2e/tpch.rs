//! The 22 queries of TPC-H at scale factor 0.1: the same values as native DuckDB, the same root and fuel on every worker.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use eider_protocol::Outcome;
use eider_sandbox::Variant;
use eider_tests::{Behaviour::Honest, Grid, Job, target_dir, tpch};

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
        write_parquet(&ran.bytes, &results.path().join(format!("q{n:02}.parquet")));
    }
    compare_with_native(&data, results.path());
}

fn write_parquet(arrow: &[u8], path: &Path) {
    let reader = arrow::ipc::reader::StreamReader::try_new(arrow, None).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, reader.schema(), None).unwrap();
    for batch in reader {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.close().unwrap();
}

fn compare_with_native(data: &Path, results: &Path) {
    let pydeps = target_dir().parent().unwrap().join("pydeps");
    if !pydeps.join(".done").exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must compare with native DuckDB");
        println!("SKIPPED: no native DuckDB to compare with; `make test` fetches it where python3 has pip");
        return;
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compared = Command::new("python3")
        .arg(tests.join("native.py"))
        .args(["compare".as_ref(), data.as_os_str(), results.as_os_str(), tests.join("tpch").as_os_str()])
        .env("PYTHONPATH", &pydeps)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&compared.stdout), String::from_utf8_lossy(&compared.stderr));
    assert!(compared.status.success(), "{out}{err}");
    assert!(out.contains("22 queries equal"), "{out}{err}");
}
