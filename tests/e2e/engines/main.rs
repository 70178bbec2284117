//! An engine is published: packed, written into a log, witnessed, and checked by somebody who has nothing but its bundle.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use eider_tests::programs::{Header, engine, text};
use eider_tests::{eider, python};

mod taking;

/// A folder with keys, an engine and a log, and the program in it.
struct Publisher {
    dir: tempfile::TempDir,
}

/// What was said on standard output, and how it ended.
fn said(output: &Output) -> (Option<i32>, String) {
    let words = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

/// The command that packs the engine.
fn packing<'a>(name: &'a str, version: &'a str, key: &'a str, bundle: &'a str) -> Vec<&'a str> {
    let what = ["engine", "pack", "engine.wasm", "--license", "LICENSE"];
    [&what[..], &["--name", name, "--version", version, "--key", key, "-o", bundle]].concat()
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
        self.ok(&packing("someone/good", version, "someone.key", bundle));
    }

    fn append(&self, bundle: &str) -> Output {
        let owner = self.key("someone");
        self.run(&["log", "append", "log", "--key", "log.example.key", "--publisher", &owner, bundle])
    }

    /// A witness cosigns the log; `first` if it never did.
    fn witness(&self, name: &str, first: bool) -> Output {
        let (log, key, state) = (self.key("log.example"), format!("{name}.key"), format!("{name}.state"));
        let witness = ["log", "witness", "log", "--log", &log, "--key", &key, "--state", &state];
        let output = self.run(&[&witness[..], if first { &["--first"] } else { &[] }].concat());
        if output.status.success() {
            fs::write(self.at("cosignature"), &output.stdout).unwrap();
            self.ok(&["log", "cosign", "log", "--key", "log.example.key", "--witness", &self.key(name), "cosignature"]);
        }
        output
    }

    fn prove(&self, bundle: &str) {
        self.ok(&["log", "prove", "log", "--log-policy", "policy", bundle]);
    }

    fn monitor(&self, more: &[&str]) -> (Option<i32>, String) {
        said(&self.run(&[&["log", "monitor", "log", "--log-policy", "policy"], more].concat()))
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
    // What is proven is not made worse.
    let before = fs::read(p.at("bundle")).unwrap();
    let (code, words) = said(&p.run(&["log", "prove", "log", "--log-policy", "policy", "bundle"]));
    assert!(
        code == Some(1) && words.contains("lacks witnesses") && fs::read(p.at("bundle")).unwrap() == before,
        "{words}"
    );
    for name in ["a.example", "b.example"] {
        assert!(p.witness(name, true).status.success());
    }
    p.prove("bundle");
    let (code, words) = p.verify("bundle", "engine.wasm");
    assert_eq!(code, Some(0), "{words}");
    for step in ["manifest", "publisher", "component", "entry", "log"] {
        assert!(words.lines().any(|l| l.starts_with(step) && l.contains(" ok ")), "{step}: {words}");
    }

    // The bytes of another engine, one of them changed, which nobody looks into.
    let mut bytes = fs::read(p.at("engine.wasm")).unwrap();
    bytes[0] ^= 1;
    fs::write(p.at("other.wasm"), &bytes).unwrap();
    let (code, words) = p.verify("bundle", "other.wasm");
    assert!(code == Some(1) && words.contains("component  REFUSED  the manifest names other bytes: BLAKE3"), "{words}");
    assert_eq!(fs::metadata(p.at("bundle")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::metadata(p.at("someone.key")).unwrap().permissions().mode() & 0o777, 0o600);

    // Its owner looks what is published, keeps what was seen, and is told what is new.
    let owner = ["--owner", "someone", "--publisher", &p.key("someone"), "--state", "seen"];
    let (code, words) = p.monitor(&owner);
    assert!(code == Some(0) && words.starts_with("0 publish ") && words.contains(" someone/good 1.0.0\n"), "{words}");
    // It is taken back, and whoever has the newer bundle knows.
    p.ok(&["engine", "yank", "bundle", "--reason", "wrong sums", "--key", "someone.key"]);
    p.refused(&["engine", "yank", "bundle", "--reason", "again", "--key", "someone.key"], "taken back already");
    assert!(p.append("bundle").status.success());
    let (code, words) = p.verify("bundle", "engine.wasm");
    assert!(code == Some(1) && words.contains("took it back: wrong sums"), "{words}");
    let (code, words) = p.monitor(&owner);
    assert!(code == Some(1) && words.contains("lacks witnesses"), "{words}");
    for name in ["a.example", "b.example"] {
        assert!(p.witness(name, false).status.success());
    }
    let (code, words) = p.monitor(&owner);
    assert!(code == Some(0) && words.starts_with("1 yank ") && words.contains("1 of 2 entries read"), "{words}");
    let (code, words) = p.monitor(&["--owner", "some"]);
    assert!(code == Some(0) && words.starts_with("2 of 2 entries read"), "{words}");
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
    p.refused(&packing("else/good", "1.0.0", "someone.key", "other"), "not signed by someone");
    p.refused(&packing("someone/good", "1.0.1", "log.example.key", "other"), "the key of a log");
    p.refused(&packing("someone/good", "1", "someone.key", "other"), "version");
    p.refused(&["engine", "keygen", "publisher", "someone", "someone.key"], "exists");
    p.refused(&["log", "create", "log", "--key", "log.example.key"], "never begun anew");
    let stranger = p.ok(&["engine", "keygen", "publisher", "someone", "stranger.key"]);
    p.pack("1.0.1", "newer");
    let by = |key: &str, more: &[&str], why: &str| {
        let append = ["log", "append", "log", "--key", "log.example.key", "--publisher", key];
        p.refused(&[&append[..], more, &["newer"]].concat(), why);
    };
    by(stranger.trim(), &[], "not signed by someone");
    by(&p.key("a.example"), &[], "no --publisher is someone");
    let secret = fs::read_to_string(p.at("stranger.key")).unwrap();
    by(secret.trim(), &[], "the SECRET half");
    let (_, words) =
        said(&p.run(&["log", "append", "log", "--key", "log.example.key", "--publisher", secret.trim(), "newer"]));
    assert!(!words.contains("PRIVATE"), "{words}");
    // A stranger's entry of that name, which a keeper who knows no better took, is marked.
    p.ok(&packing("someone/good", "2.0.0", "stranger.key", "false"));
    p.ok(&["log", "append", "log", "--key", "log.example.key", "--publisher", stranger.trim(), "false"]);
    for name in ["a.example", "b.example"] {
        assert!(p.witness(name, true).status.success());
    }
    let (code, words) = p.monitor(&["--publisher", &p.key("someone")]);
    let marked: Vec<&str> = words.lines().filter(|l| l.contains("NOT SIGNED")).collect();
    assert!(code == Some(0) && marked.len() == 1 && marked[0].contains(" 2.0.0 NOT SIGNED"), "{words}");
}

#[test]
fn a_witness_cosigns_no_log_that_was_rewritten_or_cut() {
    let p = Publisher::new();
    p.pack("1.0.0", "one");
    assert!(p.append("one").status.success());
    let before = copied(&p.at("log"), &p.at("before"));
    p.pack("1.0.1", "two");
    assert!(p.append("two").status.success());
    assert!(p.witness("a.example", true).status.success());
    let (code, words) = said(&p.witness("a.example", true));
    assert!(code == Some(2) && words.contains("has cosigned before"), "{words}");
    // The same key signs another history, of the same and of a greater length.
    restored(&before, &p.at("log"));
    let (code, words) = said(&p.witness("a.example", false));
    assert!(code == Some(1) && words.contains("it was cut"), "{words}");
    p.pack("2.0.0", "other");
    assert!(p.append("other").status.success());
    let (code, words) = said(&p.witness("a.example", false));
    assert!(code == Some(1) && words.contains("NOT cosigned") && words.contains("are proof that"), "{words}");
    p.pack("2.0.1", "more");
    assert!(p.append("more").status.success());
    let (code, words) = said(&p.witness("a.example", false));
    assert!(code == Some(1) && words.contains("was rewritten"), "{words}");
    // Who saw nothing before cannot know, and says so.
    let (code, words) = said(&p.witness("b.example", false));
    assert!(code == Some(2) && words.contains("cannot know what it cosigned last"), "{words}");
    assert!(p.witness("b.example", true).status.success());
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
