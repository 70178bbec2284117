//! An engine is published: packed, written into a log, witnessed, and checked by somebody who has nothing but its bundle.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use eider_tests::programs::{Header, engine, text};
use eider_tests::{eider, python};

/// A folder with keys, an engine and a log, and the program in it.
struct Publisher {
    dir: tempfile::TempDir,
}

/// What was said on standard output, and how it ended.
fn said(output: &Output) -> (Option<i32>, String) {
    let words = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

impl Publisher {
    fn new() -> Self {
        let publisher = Self { dir: tempfile::tempdir().unwrap() };
        for (role, name) in
            [("publisher", "someone"), ("log", "log.example"), ("witness", "a.example"), ("witness", "b.example")]
        {
            let key = publisher.ok(&["engine", "keygen", role, name, &format!("{name}.key")]);
            fs::write(publisher.at(&format!("{name}.pub")), key).unwrap();
        }
        let policy = format!(
            "log {}\nwitness a {}\nwitness b {}\ngroup both all a b\nquorum both\n",
            publisher.key("log.example"),
            publisher.key("a.example"),
            publisher.key("b.example")
        );
        fs::write(publisher.at("policy"), policy).unwrap();
        let program = text("good");
        fs::write(publisher.at("engine.wasm"), engine(&program, &Header::parse(&program).unwrap())).unwrap();
        fs::write(publisher.at("LICENSE"), "do as you like\n").unwrap();
        publisher.ok(&["log", "create", "log", "--key", "log.example.key"]);
        publisher
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key(&self, name: &str) -> String {
        fs::read_to_string(self.at(&format!("{name}.pub"))).unwrap().trim().to_string()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(eider());
        // Neither a home nor a cache: nothing here needs one.
        command.args(args).env_clear().current_dir(self.dir.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output).1);
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, args: &[&str], why: &str) {
        let (code, words) = said(&self.run(args));
        assert!(code.is_some_and(|c| c != 0) && words.contains(why), "{args:?}: {words}");
    }

    fn pack(&self, version: &str, bundle: &str) {
        let engine = ["engine", "pack", "engine.wasm", "--name", "someone/good", "--version", version];
        self.ok(&[&engine[..], &["--key", "someone.key", "--license", "LICENSE", "-o", bundle]].concat());
    }

    fn append(&self, bundle: &str) -> Output {
        let owner = self.key("someone");
        self.run(&["log", "append", "log", "--key", "log.example.key", "--publisher", &owner, bundle])
    }

    fn witness(&self, name: &str) -> Output {
        let (log, key, state) = (self.key("log.example"), format!("{name}.key"), format!("{name}.state"));
        self.run(&["log", "witness", "log", "--log", &log, "--key", &key, "--state", &state, "--into", "log.example.key"])
    }

    fn prove(&self, bundle: &str) {
        self.ok(&["log", "prove", "log", "--log", &self.key("log.example"), bundle]);
    }

    fn verify(&self, bundle: &str, component: &str) -> (Option<i32>, String) {
        let owner = self.key("someone");
        said(&self.run(&["engine", "verify", bundle, component, "--publisher", &owner, "--log-policy", "policy"]))
    }
}

#[test]
fn a_build_is_published_and_checked_by_whoever_has_its_bundle() {
    let p = Publisher::new();
    p.pack("1.0.0", "bundle");
    let (code, words) = p.verify("bundle", "engine.wasm");
    assert!(code == Some(1) && words.contains("it is in no log"), "{words}");
    assert!(p.append("bundle").status.success());
    let (code, words) = p.verify("bundle", "engine.wasm");
    assert!(code == Some(1) && words.contains("lacks witnesses"), "{words}");
    for name in ["a.example", "b.example"] {
        assert!(p.witness(name).status.success());
    }
    p.prove("bundle");
    let (code, words) = p.verify("bundle", "engine.wasm");
    assert_eq!(code, Some(0), "{words}");
    for step in ["manifest", "publisher", "component", "entry", "log"] {
        assert!(words.lines().any(|l| l.starts_with(step) && l.contains(" ok ")), "{step}: {words}");
    }

    // The bytes of another engine, one of them changed.
    let mut bytes = fs::read(p.at("engine.wasm")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(p.at("other.wasm"), &bytes).unwrap();
    let (code, words) = p.verify("bundle", "other.wasm");
    assert!(code != Some(0), "{words}");

    // It is taken back, and whoever has the newer bundle knows.
    p.ok(&["engine", "yank", "bundle", "--reason", "wrong sums", "--key", "someone.key"]);
    assert!(p.append("bundle").status.success());
    let (code, words) = p.verify("bundle", "engine.wasm");
    assert!(code == Some(1) && words.contains("REFUSED"), "{words}");
    let listed = p.ok(&["log", "monitor", "log", "--log", &p.key("log.example"), "--owner", "someone"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("0 publish someone/good 1.0.0 ") && lines[1] == "1 yank someone/good 1.0.0: wrong sums");
    assert_eq!(p.ok(&["log", "monitor", "log", "--log", &p.key("log.example"), "--owner", "else"]), "");
}

#[test]
fn a_version_is_published_once_and_by_its_owner() {
    let p = Publisher::new();
    p.pack("1.0.0", "bundle");
    assert!(p.append("bundle").status.success());
    // Again, which changes nothing, and as something else, which cannot be.
    assert!(p.append("bundle").status.success());
    fs::write(p.at("LICENSE"), "do not\n").unwrap();
    p.pack("1.0.0", "again");
    let (code, words) = said(&p.append("again"));
    assert!(code == Some(2) && words.contains("never published twice"), "{words}");
    p.refused(
        &["engine", "pack", "engine.wasm", "--name", "else/good", "--version", "1.0.0", "--key", "someone.key", "--license", "LICENSE", "-o", "other"],
        "not signed by someone",
    );
    p.refused(&["engine", "pack", "engine.wasm", "--name", "someone/good", "--version", "1.0.1", "--key", "log.example.key", "--license", "LICENSE", "-o", "other"], "the key of a log");
    p.refused(&["engine", "pack", "engine.wasm", "--name", "someone/good", "--version", "1", "--key", "someone.key", "--license", "LICENSE", "-o", "other"], "version");
    p.refused(&["engine", "keygen", "publisher", "someone", "someone.key"], "exists");
    p.refused(&["log", "create", "log", "--key", "log.example.key"], "never begun anew");
    let stranger = p.ok(&["engine", "keygen", "publisher", "someone", "stranger.key"]);
    p.pack("1.0.1", "newer");
    p.refused(&["log", "append", "log", "--key", "log.example.key", "--publisher", stranger.trim(), "newer"], "not signed by someone");
}

#[test]
fn a_witness_cosigns_no_log_that_was_rewritten_or_cut() {
    let p = Publisher::new();
    p.pack("1.0.0", "one");
    assert!(p.append("one").status.success());
    let before = copied(&p.at("log"), &p.at("before"));
    p.pack("1.0.1", "two");
    assert!(p.append("two").status.success());
    assert!(p.witness("a.example").status.success());
    // The same key signs another history, of the same and of a greater length.
    restored(&before, &p.at("log"));
    let (code, words) = said(&p.witness("a.example"));
    assert!(code == Some(2) && words.contains("it was cut"), "{words}");
    p.pack("2.0.0", "other");
    assert!(p.append("other").status.success());
    let (code, words) = said(&p.witness("a.example"));
    assert!(code == Some(2) && words.contains("NOT cosigned") && words.contains("proof of it"), "{words}");
    p.pack("2.0.1", "more");
    assert!(p.append("more").status.success());
    let (code, words) = said(&p.witness("a.example"));
    assert!(code == Some(2) && words.contains("was rewritten"), "{words}");
    // Who saw nothing before cannot know.
    assert!(p.witness("b.example").status.success());
}

fn copied(from: &Path, to: &Path) -> PathBuf {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    to.to_owned()
}

fn restored(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copied(from, to);
}

#[test]
fn another_reader_of_envelopes_agrees() {
    let p = Publisher::new();
    p.pack("1.0.0", "bundle");
    let said = python("envelope.py", &[p.at("bundle").as_os_str(), OsStr::new(&p.key("someone"))]);
    assert!(said.is_none_or(|said| said == "someone/good@1.0.0\n"));
}
