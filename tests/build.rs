//! One test for each program in `guest/programs`. A program that does not say how it must end does not build.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/programs/header.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library has the rest of it")]
mod header;

fn main() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest/programs");
    println!("cargo::rerun-if-changed={}", programs.display());
    println!("cargo::rerun-if-changed=src/programs/header.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files: Vec<PathBuf> = fs::read_dir(&programs)
        .expect("guest/programs is in the repository")
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "wat"))
        .collect();
    files.sort();
    let mut tests = String::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap_or_default();
        match header::Header::parse(&text) {
            Ok(header) => tests.push_str(&test(&name, &header)),
            Err(e) => println!("cargo::error=guest/programs/{name}.wat {e}"),
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("programs.rs");
    fs::write(out, tests).expect("cargo's folder can be written");
}

/// A check that does not exist is an error of the compiler.
fn test(name: &str, header: &header::Header) -> String {
    let function = name.replace('-', "_");
    let check = header.check.as_ref().map_or("checks::none".into(), |c| format!("checks::{c}"));
    let mut test = String::new();
    let _ = writeln!(test, "#[test]\nfn {function}() {{\n    lab::test({name:?}, {check});\n}}");
    test
}
