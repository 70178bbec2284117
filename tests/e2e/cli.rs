//! The program as a person meets it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use eider_tests::{eider, engine_cache};

fn run(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(eider());
    command.args(args).env("EIDER_HOME", home).env("EIDER_CACHE", engine_cache()).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_key_is_made_once_and_shown() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(run(home.path(), &["key", "show"]).status.code(), Some(2));
    let made = run(home.path(), &["key", "new"]);
    assert!(made.status.success() && text(&made.stdout).starts_with("b3:"));
    assert_eq!(run(home.path(), &["key", "show"]).stdout, made.stdout);
    let again = run(home.path(), &["key", "new"]);
    assert!(!again.status.success() && text(&again.stderr).contains("exists already"));
    let file = home.path().join("node.key");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(text(&run(home.path(), &["key", "show"]).stderr).contains("chmod 600"));
}

#[test]
fn the_engine_imports_only_what_the_contract_has() {
    let home = tempfile::tempdir().unwrap();
    let shown = run(home.path(), &["engine", "inspect"]);
    assert!(shown.status.success());
    let shown = text(&shown.stdout);
    let imports: Vec<_> =
        shown.lines().skip_while(|l| *l != "imports").skip(1).take_while(|l| l.starts_with("  ")).collect();
    assert_eq!(imports.len(), 3, "{shown}");
    for (line, name) in imports.iter().zip(["inputs", "results", "progress"]) {
        assert!(line.contains(&format!("eider:engine/{name}@1.0.0")) && line.contains("granted"), "{line}");
    }
    let junk = home.path().join("junk.wasm");
    std::fs::write(&junk, b"\0asm\x01\0\0\0").unwrap();
    let refused = run(home.path(), &["engine", "inspect", junk.to_str().unwrap()]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("core WebAssembly module"), "{refused:?}");
}

#[test]
fn a_result_leaves_in_every_form() {
    let home = tempfile::tempdir().unwrap();
    let sql = "SELECT i, 'a,b' AS s, [i] AS l, i * 1.5 AS d FROM range(2) t(i)";
    let out = |format: &str| {
        let ran = run(home.path(), &["run", "--format", format, sql]);
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        ran.stdout
    };
    assert_eq!(text(&out("csv")), "i,s,l,d\n0,\"a,b\",[0],0.0\n1,\"a,b\",[1],1.5\n");
    assert_eq!(text(&out("json")).lines().next().unwrap(), r#"{"i":0,"s":"a,b","l":[0],"d":0.0}"#);
    assert!(text(&out("table")).contains("| 1 | a,b | [1] | 1.5 |"));
    assert!(out("parquet").starts_with(b"PAR1") && out("parquet").ends_with(b"PAR1"));
    let schema = arrow::ipc::reader::StreamReader::try_new(&out("arrow")[..], None).unwrap().schema();
    assert_eq!(schema.field(3).metadata()["duckdb.type"], "DECIMAL(21,1)");
    let empty = run(home.path(), &["run", "--format", "csv", "SELECT 1 AS one WHERE false"]);
    assert_eq!(text(&empty.stdout), "one\n");
    let ends = "SELECT unnest(['infinity', '2020-02-29', NULL])::DATE AS d, '-infinity'::TIMESTAMP AS t";
    for (format, says) in [
        ("csv", "d,t\ninfinity,-infinity\n2020-02-29,-infinity\n,-infinity\n"),
        ("json", "{\"d\":\"infinity\",\"t\":\"-infinity\"}\n"),
        ("table", "| infinity   | -infinity |"),
    ] {
        let printed = text(&run(home.path(), &["run", "--format", format, ends]).stdout);
        assert!(printed.contains(says), "{format}: {printed}");
    }
}

#[test]
fn what_was_read_back_is_what_was_written() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("out.parquet");
    let path = file.to_str().unwrap();
    assert!(run(home.path(), &["run", "-o", path, "SELECT i, i::VARCHAR s FROM range(1000) t(i)"]).status.success());
    let input = format!("t={path}");
    let back = run(home.path(), &["run", "--input", &input, "SELECT sum(i), max(s), count(*) FROM t"]);
    assert!(text(&back.stdout).ends_with("\n499500,999,1000\n"), "{back:?}");
    // A failed query leaves no file behind.
    let failed = home.path().join("failed.csv");
    let ran = run(home.path(), &["run", "-o", failed.to_str().unwrap(), "SELECT nothere"]);
    assert_eq!(ran.status.code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().contains("failed") || name.to_string_lossy().ends_with(".part")),
        "{left:?}"
    );
}

#[test]
fn wrong_usage_says_what_is_wrong_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for (args, says) in [
        (vec!["query", "SELECT 1"], "eider up"),
        (vec!["query", "-w", "nowhere", "SELECT 1"], "HOST:PORT"),
        (vec!["query", "-w", "127.0.0.1:1#b3:zz", "SELECT 1"], "64 hexadecimal digits"),
        (vec!["query", "-w", "127.0.0.1:1", "-k", "4", "-q", "2", "SELECT 1"], "no majority"),
        (
            vec!["query", "-w", "127.0.0.1:1", "--class", "sensitive", "--attest", "internal", "SELECT 1"],
            "is for internal",
        ),
        (vec!["query", "-w", "127.0.0.1:1", "--attest", "/nowhere.toml", "SELECT 1"], "/nowhere.toml"),
        (vec!["run", "--input", "x", "SELECT 1"], "NAME=PATH"),
        (vec!["run", "--memory", "1MiB", "SELECT 1"], "64MiB to 4GiB"),
        (vec!["run", "--seed", "12", "SELECT 1"], "64 hexadecimal digits"),
        (vec!["run", " "], "empty"),
        (vec!["worker", "--classes", "sensitive"], "proven hardware"),
    ] {
        let ran = run(home.path(), &args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains(says), "{args:?}: {}", text(&ran.stderr));
    }
    let dead = run(home.path(), &["query", "-w", "127.0.0.1:9", "-k", "1", "SELECT 1"]);
    assert_eq!(dead.status.code(), Some(3));
    assert!(
        text(&dead.stderr).contains("127.0.0.1:9") && text(&dead.stderr).contains("unreachable"),
        "{}",
        text(&dead.stderr)
    );
}

#[test]
fn who_reads_no_further_ends_it_without_a_word() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(eider());
    command.args(["policy", "show", "internal"]).env("EIDER_HOME", home.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((ran.status.code(), text(&ran.stderr).as_str()), (Some(141), ""));
}
