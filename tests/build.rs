//! One test for each program in `guest/programs` and each behaviour in `tests/strangers`. One that does not say how it must
//! end, or what it costs and who is blamed, does not build.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/programs/header.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library has the rest of it")]
mod header;

#[path = "src/strangers/head.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library has the rest of it")]
mod head;

fn main() {
    programs();
    strangers();
}

/// The files of a folder with this extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is in the repository")
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn out(name: &str, text: &str) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(name);
    fs::write(out, text).expect("cargo's folder can be written");
}

/// Each behaviour as a module, and a test that plays it.
fn strangers() {
    println!("cargo::rerun-if-changed=src/strangers/head.rs");
    let (mut text, mut tables) = (String::new(), [String::new(), String::new()]);
    for (kind, table) in ["asks", "answers"].into_iter().zip(&mut tables) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("strangers").join(kind);
        for file in files(&folder, "rs") {
            println!("cargo::rerun-if-changed={}", file.display());
            let head = head::Head::parse(&fs::read_to_string(&file).unwrap_or_default(), kind == "answers");
            if let Err(e) = head {
                println!("cargo::error=tests/strangers/{kind}/{}.rs {e}", stem(&file));
                continue;
            }
            let name = format!("{kind}_{}", stem(&file).replace('-', "_"));
            let play = match kind {
                "asks" => format!("eider_tests::strangers::asks({name}_::play)"),
                _ => format!(
                    "eider_tests::strangers::answers(include_str!({file:?}), |call| Box::pin({name}_::play(call)))"
                ),
            };
            let _ = match kind {
                "asks" => writeln!(table, "    ({name:?}, |town| Box::pin({name}_::play(town))),"),
                _ => writeln!(
                    table,
                    "    ({name:?}, |town| Box::pin(eider_tests::strangers::crowd(town, include_str!({file:?}), |call| Box::pin({name}_::play(call))))),"
                ),
            };
            let _ =
                writeln!(text, "#[path = {file:?}]\nmod {name}_;\n#[test]\nfn {name}() {{\n    {play}.unwrap();\n}}");
        }
    }
    for (name, table) in ["Asks", "Answers"].into_iter().zip(tables) {
        let (constant, kind) = (name.to_uppercase(), format!("eider_tests::strangers::{name}"));
        let _ = writeln!(text, "pub(crate) const {constant}: &[{kind}] = &[\n{table}];");
    }
    out("strangers.rs", &text);
}

fn programs() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest/programs");
    println!("cargo::rerun-if-changed=src/programs/header.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let mut tests = String::new();
    for file in files(&programs, "wat") {
        let name = stem(&file);
        let text = fs::read_to_string(&file).unwrap_or_default();
        match header::Header::parse(&text) {
            Ok(header) => tests.push_str(&test(&name, &header)),
            Err(e) => println!("cargo::error=guest/programs/{name}.wat {e}"),
        }
    }
    out("programs.rs", &tests);
}

/// A check that does not exist is an error of the compiler.
fn test(name: &str, header: &header::Header) -> String {
    let function = name.replace('-', "_");
    let check = header.check.as_ref().map_or("checks::none".into(), |c| format!("checks::{c}"));
    let mut test = String::new();
    let _ = writeln!(test, "#[test]\nfn {function}() {{\n    lab::test({name:?}, {check});\n}}");
    test
}
