//! A result far larger than the requester's memory, whose first deliverer lies.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;

use eider_tests::Behaviour::{Slow, WrongBytes};
use eider_tests::{Grid, eider, process};

/// The requester may have this much; the result has ten times as much.
const MEMORY_MAX: u64 = 200 << 20;

#[test]
fn two_gigabytes_arrive_whole_in_bounded_memory_though_a_byte_was_flipped() {
    // The liar commits first, for the others take two seconds longer.
    let grid = Grid::start(&[WrongBytes, Slow], &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (out, record) = (dir.path().join("big.arrow"), dir.path().join("record.json"));
    let sql = "SELECT i, i * 7 AS j, hash(i) AS h, md5(i::VARCHAR) AS m FROM range(33000000) t(i)";
    let mut command = Command::new(eider());
    command.args(["query", "-k", "2", "-q", "2", "--stall", "60s", "--format", "arrow", sql]);
    command.arg("-o").arg(&out).arg(format!("--explain={}", record.display()));
    for c in grid.candidates() {
        command.arg("-w").arg(format!("{}#{}", c.address, c.node.unwrap()));
    }
    let mut child = command.env("EIDER_HOME", dir.path()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(process::memory(child.id(), "VmHWM"));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert!(status.success(), "{record}");
    let fates: Vec<_> = record["peers"].as_array().unwrap().iter().map(|p| p["fate"].as_str().unwrap()).collect();
    assert!(fates.contains(&"caught: its bytes do not match the committed root"), "{fates:?}");
    assert!(fates.contains(&"delivered the result"), "{fates:?}");
    let root = record["outcome"]["completed"]["root"].as_str().unwrap();
    let mut hasher = blake3::Hasher::new();
    let length = std::io::copy(&mut std::fs::File::open(&out).unwrap(), &mut hasher).unwrap();
    assert_eq!(hasher.finalize().to_string(), root, "a wrong byte reached the file");
    assert!(length > 1_900_000_000, "{length}");
    assert!(peak > 0 && peak < MEMORY_MAX, "{peak} bytes");
}
