//! Python programs that know better: native DuckDB, which answers are compared with, and readers of others' formats.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test that asked")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::target_dir;

/// What `native.py` says, run with these words; as [`python`].
///
/// # Panics
/// As [`python`].
pub fn native(words: &[&OsStr]) -> Option<String> {
    python("native.py", words)
}

/// What a Python program beside this crate says, run with these words. None, with a word of it, where what it needs was not fetched; CI must
/// have it.
///
/// # Panics
/// If it fails, with what it said.
pub fn python(program: &str, words: &[&OsStr]) -> Option<String> {
    let pydeps = target_dir().parent().unwrap().join("pydeps");
    if !pydeps.join(".done").exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must compare with native DuckDB and others");
        println!("SKIPPED: no Python packages to compare with; `make test` fetches them where python3 has pip");
        return None;
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
    let compared = Command::new("python3").arg(program).args(words).env("PYTHONPATH", &pydeps).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&compared.stdout), String::from_utf8_lossy(&compared.stderr));
    assert!(compared.status.success(), "{out}{err}");
    Some(out.into_owned())
}
