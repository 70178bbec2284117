//! A worker takes an engine that it never saw, from who asks for it, if its owner's policy admits it: and no other.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use eider_net::{Connection, Endpoint, JobStream, Pace, Source, StreamError, file_outboard};
use eider_node::Candidate;
use eider_protocol::{
    Bid, DataClass, Decline, DeclineReason, EngineFetch, EnginePart, Hash, Identity, InputsSummary, Kind, Limits,
    Offer, Published, ResetCode, Signed, Version,
};
use eider_sandbox::Variant;
use eider_tests::programs::{Header, engine};

use super::{Publisher, said};

const PACE: Pace = Pace { least: 1, within: Duration::from_secs(60) };

/// Bytes of a query that such an engine answers.
const SHORT: usize = 20;

/// An engine whose answer to anything is a table with this number; but to what is longer than [`SHORT`] it has none, and looks for one for ever.
fn answering(number: i32) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![Field::new("answer", DataType::Int32, false)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int32Array::from(vec![number]))]).unwrap();
    let mut bytes = vec![];
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let data: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    of_text(&format!(
        ";; Answers.\n;; ends: completed\n;; prelude\n(data (i32.const 4096) \"{data}\")\n\
         (func (export \"run\") (param i32 i32 i64 i32 i32 i64) (result i32)\n\
         (if (i32.gt_u (local.get 1) (i32.const {SHORT})) (then (loop $for_ever (br $for_ever))))\n\
         (call $write (i32.const 4096) (i32.const {}))\n(call $done (i64.const 1)))\n",
        bytes.len()
    ))
}

fn of_text(text: &str) -> Vec<u8> {
    engine(text, &Header::parse(text).unwrap())
}

/// A worker, which ends with this.
struct Donor {
    child: Child,
    candidate: String,
    home: PathBuf,
}

impl Drop for Donor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Donor {
    /// Starts a worker, in a home of this name, with the policy of a file, which does not admit the built-in engine: it would have to be compiled.
    /// A worker begins with an engine, a small one of the file `first.wasm`.
    fn start(p: &Publisher, name: &str, policy: &str) -> Self {
        let home = p.at(name);
        let log = File::create(p.at(&format!("{name}.log"))).unwrap();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(super::eider())
            .args([
                "worker",
                "--listen",
                "127.0.0.1:0",
                "--memory",
                "2GiB",
                "-v",
                "--engine",
                "first.wasm",
                "--engine-policy",
                policy,
            ])
            .env("EIDER_HOME", &home)
            .env("EIDER_CACHE", p.at("cache"))
            .current_dir(p.dir.path())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let candidate = line.trim().strip_prefix("listening ");
        let candidate =
            candidate.unwrap_or_else(|| panic!("{}", fs::read_to_string(p.at(&format!("{name}.log"))).unwrap()));
        Self { candidate: candidate.to_string(), child, home }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.with_extension("log")).unwrap()
    }
}

/// Looks again and again, for a minute.
fn until(mut look: impl FnMut() -> Result<(), String>) {
    let since = Instant::now();
    while let Err(why) = look() {
        assert!(since.elapsed() < Duration::from_secs(60), "{why}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Whether a process has had a processor for a second: of its status, utime is the 14th field, in hundredths.
fn has_run_for_a_second(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').nth(11).and_then(|ticks| ticks.parse::<u64>().ok()).is_some_and(|ticks| ticks >= 100)
}

impl Publisher {
    /// Publishes an engine under a version: packed, logged, cosigned, proven.
    fn publish(&self, version: &str, component: &[u8], first: bool) -> String {
        fs::write(self.at("engine.wasm"), component).unwrap();
        fs::write(self.at(&format!("{version}.wasm")), component).unwrap();
        let bundle = format!("{version}.bundle");
        self.pack(version, &bundle);
        assert!(self.append(&bundle).status.success());
        for name in ["a.example", "b.example"] {
            assert!(self.witness(name, first).status.success());
        }
        self.prove(&bundle);
        bundle
    }

    /// A policy of one rule by this publisher's key, with more lines.
    fn policy(&self, file: &str, key: &str, more: &str) {
        let log = fs::read_to_string(self.at("policy")).unwrap();
        let rule = format!("[[rule]]\nabout = \"{file}\"\npublishers = [{key:?}]\nlog = \"\"\"\n{log}\"\"\"\n{more}\n");
        // Whole at once: a worker may read it at any time.
        fs::write(self.at("policy.new"), rule).unwrap();
        fs::rename(self.at("policy.new"), self.at(file)).unwrap();
    }

    /// A command of a node whose home is in this folder.
    fn node(&self, home: &str, args: &[&str]) -> Command {
        let mut command = Command::new(super::eider());
        command.args(args).env("EIDER_HOME", self.at(home)).env("EIDER_CACHE", self.at("cache"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// What the node `requester` says.
    fn asks(&self, args: &[&str]) -> Output {
        self.node("requester", args).output().unwrap()
    }

    fn adds(&self, bundle: &str, component: &str) -> (Option<i32>, String) {
        said(&self.asks(&["engine", "add", bundle, component, "--policy", "trusting.toml"]))
    }

    /// One job on one worker, for a node.
    fn queries_from(&self, home: &str, engine: &str, donor: &Donor, wait: &str) -> (Option<i32>, String) {
        let query = ["query", "SELECT 1", "--engine", engine, "-w", &donor.candidate, "-k", "1", "--memory", "512MiB"];
        said(&self.node(home, &[&query[..], &["--wait", wait]].concat()).output().unwrap())
    }

    fn queries(&self, engine: &str, donor: &Donor, wait: &str) -> (Option<i32>, String) {
        self.queries_from("requester", engine, donor, wait)
    }

    /// The same of a node that hands nothing out: it has the file alone.
    fn queries_bare(&self, file: &str, donor: &Donor, wait: &str) -> (Option<i32>, String) {
        self.queries_from("bare", file, donor, wait)
    }

    /// A publisher with an engine, in a log, and who trusts it.
    fn with_an_engine() -> Self {
        let p = Self::new();
        fs::write(p.at("first.wasm"), answering(0)).unwrap();
        p.publish("1.0.0", &answering(42), true);
        p.policy("trusting.toml", &p.key("someone"), "names = [\"someone/*\"]");
        p
    }
}

#[test]
fn a_worker_takes_an_engine_that_it_never_saw_if_its_owner_trusts_who_made_it() {
    let p = Publisher::with_an_engine();
    // Whoever asks must have it, too.
    let (code, words) = said(&p.asks(&["run", "SELECT 1", "--engine", "someone/good"]));
    assert!(code == Some(2) && words.contains("`eider engine add`"), "{words}");
    let (code, words) = said(&p.asks(&["engine", "add", "1.0.0.bundle", "1.0.0.wasm"]));
    assert!(code == Some(1) && words.contains("NOT admitted"), "the shipped policy trusts nobody: {words}");
    let (code, words) = p.adds("1.0.0.bundle", "1.0.0.wasm");
    assert_eq!(code, Some(0), "{words}");
    let (code, words) = said(&p.asks(&["run", "SELECT 1", "--engine", "someone/good@1.0.0", "--engine-lock", "lock"]));
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}");

    let trusting = Donor::start(&p, "trusting", "trusting.toml");
    let stranger = p.ok(&["engine", "keygen", "publisher", "other", "other.key"]);
    p.policy("wary.toml", stranger.trim(), "");
    let wary = Donor::start(&p, "wary", "wary.toml");
    let (code, words) = p.queries("someone/good", &trusting, "60s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}\n{}", trusting.log());
    let (code, words) = p.queries("someone/good", &wary, "60s");
    assert!(
        code == Some(3) && words.contains("rule 1 (wary.toml): publisher: its manifest is signed by none"),
        "{words}"
    );
    // It is here now, and nobody waits.
    let (code, words) = p.queries("someone/good", &trusting, "0s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}");

    // It is taken back: a node that is told of it runs it no more, and ends what runs.
    let long = "SELECT 1 AS a_question_without_an_answer";
    let query = ["query", long, "--engine", "someone/good", "-w", &trusting.candidate, "-k", "1", "--memory", "512MiB"];
    let log = File::create(p.at("asking.log")).unwrap();
    let mut asking = p.node("requester", &query).stderr(log).spawn().unwrap();
    // Its cell has the processor for as long as it runs.
    let runs = || eider_tests::process::descendants(trusting.child.id()).into_iter().any(has_run_for_a_second);
    until(|| if runs() { Ok(()) } else { Err(trusting.log()) });
    p.ok(&["engine", "yank", "1.0.0.bundle", "--reason", "wrong answers", "--key", "someone.key"]);
    let told = p.node("trusting", &["engine", "add", "1.0.0.bundle", "--policy", "trusting.toml"]).output();
    let (code, words) = said(&told.unwrap());
    assert!(code == Some(1) && words.contains("is known here from now on"), "{words}");
    let code = asking.wait().unwrap().code();
    let words = fs::read_to_string(p.at("asking.log")).unwrap();
    assert!(code == Some(3) && words.contains("owner took the donation back"), "{words}\n{}", trusting.log());
    until(|| match p.queries("someone/good", &trusting, "0s") {
        (Some(3), words) if words.contains("took it back: wrong answers") => Ok(()),
        (_, words) => Err(words),
    });

    // The lock is of those bytes, whatever is newest.
    p.publish("1.1.0", &answering(43), false);
    assert_eq!(p.adds("1.1.0.bundle", "1.1.0.wasm").0, Some(0));
    let run = |more: &[&str]| said(&p.asks(&[&["run", "SELECT 1"], more].concat()));
    assert!(run(&["--engine", "someone/good"]).1.contains("\n43\n"));
    assert!(run(&["--engine-lock", "lock"]).1.contains("\n42\n"));
    let (code, words) = run(&["--engine", "someone/good", "--engine-lock", "lock"]);
    assert!(code == Some(2) && words.contains("remove the file to take it"), "{words}");
}

#[test]
fn a_worker_goes_by_its_policy_as_it_is_now_and_has_its_engines_again_after_a_restart() {
    let p = Publisher::with_an_engine();
    assert_eq!(p.adds("1.0.0.bundle", "1.0.0.wasm").0, Some(0));
    let donor = Donor::start(&p, "donor", "trusting.toml");
    // Who has only the file has it to itself.
    let (code, words) = p.queries_bare("1.0.0.wasm", &donor, "1s");
    assert!(code == Some(3) && words.contains("cannot be had"), "{words}");
    assert_eq!(p.queries("someone/good", &donor, "60s").0, Some(0), "{}", donor.log());
    drop(donor);
    let donor = Donor::start(&p, "donor", "trusting.toml");
    let (code, words) = p.queries_bare("1.0.0.wasm", &donor, "60s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}\n{}", donor.log());
    let answers = |want: fn(Option<i32>, &str) -> bool| {
        until(|| match p.queries("someone/good", &donor, "0s") {
            (code, words) if want(code, &words) => Ok(()),
            (_, words) => Err(words),
        });
    };
    p.policy("trusting.toml", &p.key("someone"), "versions = \">=2\"");
    answers(|code, words| code == Some(3) && words.contains("version: 1.0.0 is not >=2"));
    // What cannot be read changes nothing.
    fs::write(p.at("trusting.toml"), "[[rule").unwrap();
    until(|| if donor.log().contains("is not read again") { Ok(()) } else { Err(donor.log()) });
    answers(|code, words| code == Some(3) && words.contains("version: 1.0.0 is not >=2"));
    p.policy("trusting.toml", &p.key("someone"), "");
    answers(|code, _| code == Some(0));
}

#[test]
fn an_update_that_asks_for_more_waits_for_its_owner() {
    let p = Publisher::with_an_engine();
    assert_eq!(p.adds("1.0.0.bundle", "1.0.0.wasm").0, Some(0));
    let greedy = ";; Wants more.\n;; ends: completed\n;; prelude\n(memory $memory (export \"memory\") 64)\n";
    p.publish("1.1.0", &of_text(greedy), false);
    let (code, words) = p.adds("1.1.0.bundle", "1.1.0.wasm");
    assert!(
        code == Some(1)
            && words.contains("ratchet")
            && words.contains("memory of 64 pages of 64 KiB at its start, where it was 4"),
        "{words}"
    );
    let (code, words) = said(&p.asks(&["engine", "approve", "1.1.0.bundle"]));
    assert!(code == Some(0) && words.contains("may ask for this, too: memory of 64 pages"), "{words}");
    assert_eq!(p.adds("1.1.0.bundle", "1.1.0.wasm").0, Some(0));
    let (code, words) = said(&p.asks(&["engine", "list", "--policy", "trusting.toml"]));
    assert!(code == Some(0) && words.matches("admitted by rule 1").count() == 2, "{words}");
    let (code, words) = said(&p.asks(&["engine", "policy", "explain", "someone/good", "--policy", "trusting.toml"]));
    assert!(code == Some(0) && words.contains("component  ok") && words.contains("admitted, by rule 1"), "{words}");
    let (code, words) = said(&p.asks(&["engine", "policy", "check", "trusting.toml"]));
    assert!(code == Some(0) && words.contains("good, 1 rules"), "{words}");
    let (code, words) = said(&p.asks(&["engine", "show", "someone/good@1.0.0"]));
    let hash = blake3::hash(&fs::read(p.at("1.0.0.wasm")).unwrap()).to_string();
    assert!(
        code == Some(0) && words.contains(&hash) && words.contains("imports  eider:engine/inputs@1.0.0"),
        "{words}"
    );
    let (_, words) = said(&p.asks(&["engine", "show", "someone/good@1.0.0", "--licenses"]));
    assert_eq!(words.trim(), "do as you like");
    assert_eq!(said(&p.asks(&["engine", "remove", "someone/good@1.1.0"])).0, Some(0));
    let (code, words) = said(&p.asks(&["engine", "show", "someone/good@1.1.0"]));
    assert!(code == Some(2) && words.contains("not in this node's store"), "{words}");
}

#[test]
fn a_policy_may_ask_that_others_have_built_the_same() {
    let p = Publisher::with_an_engine();
    let mut keys = vec![];
    for name in ["c.example", "d.example"] {
        keys.push(p.ok(&["engine", "keygen", "rebuilder", name, &format!("{name}.key")]).trim().to_string());
    }
    p.policy("trusting.toml", &p.key("someone"), &format!("rebuilds = 2\nrebuilders = {keys:?}"));
    let attest = |name: &str, component: &str| {
        p.run(&["engine", "attest", "1.0.0.bundle", component, "--key", &format!("{name}.key")])
    };
    let (code, words) = said(&attest("c.example", "first.wasm"));
    assert!(code == Some(1) && words.contains("NOT the same"), "{words}");
    p.refused(&["engine", "attest", "1.0.0.bundle", "1.0.0.wasm", "--key", "someone.key"], "the key of a publisher");
    for (name, lacks) in [("c.example", "nobody"), ("d.example", "c.example")] {
        // What is signed and not in the log counts for nothing yet.
        let (code, words) = p.adds("1.0.0.bundle", "1.0.0.wasm");
        assert!(code == Some(1) && words.contains(&format!("built by {lacks} of those")), "{words}");
        assert!(attest(name, "1.0.0.wasm").status.success());
        p.refused(&["engine", "attest", "1.0.0.bundle", "1.0.0.wasm", "--key", &format!("{name}.key")], "already");
        let owner = p.key("someone");
        let append = ["log", "append", "log", "--key", "log.example.key", "--publisher", &owner];
        p.refused(&[&append[..], &["1.0.0.bundle"]].concat(), "no --rebuilder");
        let rebuilders: Vec<&str> = keys.iter().flat_map(|key| ["--rebuilder", key]).collect();
        p.ok(&[&append[..], &rebuilders, &["1.0.0.bundle"]].concat());
        for witness in ["a.example", "b.example"] {
            assert!(p.witness(witness, false).status.success());
        }
        p.prove("1.0.0.bundle");
    }
    let (code, words) = p.adds("1.0.0.bundle", "1.0.0.wasm");
    assert_eq!(code, Some(0), "{words}");
    let (_, words) = said(&p.asks(&["engine", "policy", "explain", "someone/good", "--policy", "trusting.toml"]));
    assert!(words.contains("built by c.example, d.example, 2 are asked for"), "{words}");
    let owner = p.key("someone");
    let verify = ["engine", "verify", "1.0.0.bundle", "1.0.0.wasm", "--publisher", &owner, "--log-policy", "policy"];
    let (code, words) = said(&p.run(&[&verify[..], &["--rebuilder", &keys[0]]].concat()));
    assert!(
        code == Some(0) && words.contains("built by c.example, too") && words.contains("rebuilds   UNSEEN"),
        "{words}"
    );
    let rebuilders: Vec<&str> = keys.iter().flat_map(|key| ["--rebuilder", key]).collect();
    let (code, words) = said(&p.run(&[&verify[..], &rebuilders].concat()));
    assert!(code == Some(0) && words.contains("built by c.example, d.example, too"), "{words}");
    assert!(!words.contains("rebuilds   UNSEEN"), "{words}");
    let (code, words) = p.monitor(&["--owner", "someone", "--publisher", &p.key("someone")]);
    assert!(code == Some(0) && words.matches(" rebuild ").count() == 2 && !words.contains("NOT SIGNED"), "{words}");
}

#[test]
fn an_engine_that_does_not_run_is_not_offered() {
    let p = Publisher::with_an_engine();
    let donor = Donor::start(&p, "donor", "trusting.toml");
    let mut version = 0;
    let mut refused = |component: &[u8], why: &str| {
        version += 1;
        let name = format!("2.0.{version}");
        let bundle = p.publish(&name, component, false);
        assert_eq!(p.adds(&bundle, &format!("{name}.wasm")).0, Some(0));
        let (code, words) = p.queries(&format!("someone/good@{name}"), &donor, "60s");
        assert!(code == Some(3) && words.contains(why), "{why}: {words}\n{}", donor.log());
    };
    let program = |text: &str| of_text(&format!(";; It.\n;; ends: completed\n;; prelude\n{text}"));
    refused(&program("(func (export \"describe\") (result i32) unreachable)"), "it does not say what it is");
    let run =
        |body: &str| program(&format!("(func (export \"run\") (param i32 i32 i64 i32 i32 i64) (result i32) {body})"));
    refused(&run("unreachable"), "\"SELECT 1\" fails in it");
    // Another job is untouched by it.
    assert_eq!(p.adds("1.0.0.bundle", "1.0.0.wasm").0, Some(0));
    let (code, words) = p.queries("someone/good@1.0.0", &donor, "60s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}");
}

/// A requester that hands out what it likes.
struct Peer {
    identity: Identity,
    connection: Connection,
    _endpoint: Endpoint,
}

/// What it does with what it is asked for.
#[derive(Clone)]
enum Hands {
    /// Nothing, not even an answer.
    Nothing,
    /// A bundle of this length by its own word, and none of it.
    Claims(u64),
    /// These bytes for the bundle.
    Bundle(Vec<u8>),
    /// The bundle, and a component that is another from this byte on; or nothing after it, without another.
    Component { bundle: Vec<u8>, component: Vec<u8>, wrong_at: Option<usize> },
}

impl Peer {
    async fn dial(donor: &Donor) -> Self {
        let identity = Identity::generate().unwrap();
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
        let worker: Candidate = donor.candidate.parse().unwrap();
        let connection = endpoint.connect(worker.address.parse().unwrap(), worker.node).await.unwrap();
        Self { identity, connection, _endpoint: endpoint }
    }

    async fn offer(&self, engine: Hash) -> Decline {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let offer = Offer {
            requester: self.identity.node_id(),
            task: Hash::from_bytes([0; 32]),
            draw: Hash::from_bytes([0; 32]),
            class: DataClass::Public,
            engine,
            profile: Variant::Plain.profile().into(),
            limits: Limits { memory: 64 << 20, result: 1 << 20, run_ms: 1_000, fuel: None },
            inputs: InputsSummary { count: 0, bytes: 0 },
            attest: None,
            issued_at: i64::try_from(now).unwrap(),
            valid_s: 60,
            nonce: rand::random(),
        };
        let mut stream = self.connection.open().await.unwrap();
        stream.sender.send(&Signed::sign(&self.identity, Version::LATEST, offer)).await.unwrap();
        let frame = stream.receiver.expect_of(&[Kind::Bid]).await.unwrap();
        frame.open::<Bid>(Version::LATEST, self.connection.node()).unwrap().message().answer.clone().unwrap_err()
    }

    /// Hands out to whoever asks, for as long as it is not dropped.
    fn hands(&self, what: Hands) -> tokio::task::JoinHandle<()> {
        let connection = self.connection.clone();
        tokio::spawn(async move {
            while let Ok(stream) = connection.accept().await {
                tokio::spawn(serve(stream, what.clone()));
            }
        })
    }

    /// Offers until the answer is no longer that the engine comes.
    async fn answer(&self, engine: Hash) -> Decline {
        let until = Instant::now() + Duration::from_secs(80);
        loop {
            let decline = self.offer(engine).await;
            if decline.reason != DeclineReason::Busy || decline.detail.contains("cannot be had") {
                return decline;
            }
            assert!(Instant::now() < until, "{}", decline.detail);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn serve(mut stream: JobStream, what: Hands) {
    let Ok(frame) = stream.receiver.expect_of(&[Kind::Engine]).await else { return };
    let asked = EngineFetch::decode(&frame.payload).unwrap();
    let send = async |stream: &mut JobStream, bytes: Vec<u8>, start: u64| {
        let size = bytes.len() as u64;
        let outboard = file_outboard(&mut &bytes[..], size).unwrap();
        if asked.part == EnginePart::Bundle {
            let head = Published { root: outboard.root.into(), length: size };
            stream.sender.frame(Kind::Published, &head.to_payload()).await.unwrap();
        }
        let source = Source { bytes: Arc::new(bytes), outboard: Arc::new(outboard), checked: false };
        let _ = eider_net::send(&mut stream.sender, &source, start, size, PACE).await;
        stream.sender.finish_within(Duration::from_secs(5)).await;
    };
    match (what, asked.part) {
        (Hands::Claims(length), EnginePart::Bundle) => {
            let head = Published { root: Hash::from_bytes([0; 32]), length };
            stream.sender.frame(Kind::Published, &head.to_payload()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(90)).await;
        }
        (Hands::Bundle(bytes) | Hands::Component { bundle: bytes, .. }, EnginePart::Bundle) => {
            send(&mut stream, bytes, 0).await;
        }
        (Hands::Component { mut component, wrong_at, .. }, EnginePart::Component { start, .. }) => match wrong_at {
            Some(at) => {
                component[at] ^= 1;
                send(&mut stream, component, start).await;
            }
            None => stream.reset(ResetCode::Cancelled),
        },
        _ => tokio::time::sleep(Duration::from_secs(90)).await,
    }
}

/// [P-ENGINE-1], [P-ENGINE-3]
#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_hand_out_what_is_wrong_are_refused_and_another_serves() {
    let p = Publisher::with_an_engine();
    let donor = Donor::start(&p, "donor", "trusting.toml");
    let component = fs::read(p.at("1.0.0.wasm")).unwrap();
    let bundle = fs::read(p.at("1.0.0.bundle")).unwrap();
    let engine = Hash::from(blake3::hash(&component));
    let other = Hash::from_bytes([9; 32]);
    let changed = |at: usize| {
        let mut bytes = bundle.clone();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        bytes
    };
    let position = |text: &str| bundle.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
    let right = |wrong_at| Hands::Component { bundle: bundle.clone(), component: component.clone(), wrong_at };
    for (what, engine, reason, why) in [
        (Hands::Nothing, engine, DeclineReason::Busy, "cannot be had"),
        (Hands::Claims(1 << 40), engine, DeclineReason::Engine, "at most"),
        (Hands::Claims(1 << 20), engine, DeclineReason::Busy, "cannot be had"),
        (Hands::Bundle(b"{}".to_vec()), engine, DeclineReason::Engine, "not a bundle"),
        (Hands::Bundle(vec![b'['; 1 << 20]), engine, DeclineReason::Engine, "not a bundle"),
        // A byte of its publisher's signature.
        (
            Hands::Bundle(changed(position("\"sig\": \"") + 20)),
            engine,
            DeclineReason::Engine,
            "rule 1 (trusting.toml): publisher:",
        ),
        (
            Hands::Bundle(changed(position("index 0") + 6)),
            engine,
            DeclineReason::Engine,
            "rule 1 (trusting.toml): log:",
        ),
        // What is published of another engine.
        (Hands::Bundle(bundle.clone()), other, DeclineReason::Engine, "what is published as someone/good 1.0.0 is"),
        (right(Some(0)), engine, DeclineReason::Busy, "do not match the root"),
        (right(Some(component.len() - 1)), engine, DeclineReason::Busy, "do not match the root"),
        (right(None), engine, DeclineReason::Busy, "cannot be had"),
    ] {
        let peer = Peer::dial(&donor).await;
        let hands = peer.hands(what);
        let decline = peer.answer(engine).await;
        assert!(decline.reason == reason && decline.detail.contains(why), "{why}: {decline:?}\n{}", donor.log());
        hands.abort();
    }
    assert_eq!(p.adds("1.0.0.bundle", "1.0.0.wasm").0, Some(0));
    let (code, words) = p.queries("someone/good", &donor, "60s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}\n{}", donor.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yank_that_is_known_is_not_undone_by_who_brings_what_was_published_before() {
    let p = Publisher::with_an_engine();
    let component = fs::read(p.at("1.0.0.wasm")).unwrap();
    let engine = Hash::from(blake3::hash(&component));
    let before = fs::read_to_string(p.at("1.0.0.bundle")).unwrap();
    p.ok(&["engine", "yank", "1.0.0.bundle", "--reason", "wrong answers", "--key", "someone.key"]);
    let yanked = fs::read(p.at("1.0.0.bundle")).unwrap();
    // The same manifest, with the signature of a key that nobody knows beside its own.
    let junk = "{\n        \"keyid\": \"x+00000000\",\n        \"sig\": \"AAAA\"\n      },\n      ";
    let marker = "\"signatures\": [\n      ";
    assert!(before.contains(marker), "{before}");
    let beside = before.replacen(marker, &format!("{marker}{junk}"), 1);
    let donor = Donor::start(&p, "donor", "trusting.toml");
    let handed = async |donor: &Donor, bundle: &[u8]| {
        let peer = Peer::dial(donor).await;
        let (bundle, component) = (bundle.to_vec(), component.clone());
        let hands = peer.hands(Hands::Component { bundle, component, wrong_at: Some(0) });
        let decline = peer.answer(engine).await;
        hands.abort();
        decline.detail
    };
    // Who brings the yank is refused, and it is known from then on: also after a restart, and whatever else is removed.
    assert!(handed(&donor, &yanked).await.contains("took it back: wrong answers"));
    drop(donor);
    let donor = Donor::start(&p, "donor", "trusting.toml");
    for bundle in [before.as_bytes(), beside.as_bytes()] {
        let why = handed(&donor, bundle).await;
        assert!(why.contains("took it back: wrong answers"), "{why}");
    }
}

#[test]
fn a_proof_that_has_grown_old_is_made_anew_and_brought_by_who_asks() {
    let p = Publisher::with_an_engine();
    let aged = |about: &str| {
        let more = format!("names = [\"someone/*\"] # {about}\ncheckpoint_age = \"45s\"");
        p.policy("trusting.toml", &p.key("someone"), &more);
        let text = fs::read_to_string(p.at("trusting.toml")).unwrap();
        fs::write(p.at("policy.new"), text.replace("about = \"", &format!("about = \"{about} "))).unwrap();
        fs::rename(p.at("policy.new"), p.at("trusting.toml")).unwrap();
    };
    aged("first");
    let fresh = || {
        for name in ["a.example", "b.example"] {
            assert!(p.witness(name, false).status.success());
        }
        p.prove("1.0.0.bundle");
        assert_eq!(p.adds("1.0.0.bundle", "1.0.0.wasm").0, Some(0));
    };
    let donor = Donor::start(&p, "donor", "trusting.toml");
    fresh();
    let (code, words) = p.queries("someone/good", &donor, "60s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}\n{}", donor.log());
    std::thread::sleep(Duration::from_secs(46));
    // The policy is asked again where it has changed, and else each minute.
    aged("second");
    until(|| match p.queries_bare("1.0.0.wasm", &donor, "0s") {
        (Some(3), words) if words.contains("within the last 45s") => Ok(()),
        (_, words) => Err(words),
    });
    fresh();
    let (code, words) = p.queries("someone/good", &donor, "60s");
    assert!(code == Some(0) && words.contains("\n42\n"), "{words}\n{}", donor.log());
}

/// [P-ENGINE-2]
#[tokio::test(flavor = "multi_thread")]
async fn a_requester_hands_an_engine_out_a_few_times_and_nothing_else() {
    let p = Publisher::with_an_engine();
    let component = fs::read(p.at("1.0.0.wasm")).unwrap();
    let engine = Hash::from(blake3::hash(&component));
    let requester = eider_node::Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
    let file = File::open(p.at("1.0.0.wasm")).unwrap();
    let handout = eider_node::Handout::new(engine, b"bundle".to_vec(), file, component.len() as u64).unwrap();
    requester.hand_out(handout);
    let wrong = File::open(p.at("first.wasm")).unwrap();
    assert!(eider_node::Handout::new(engine, vec![], wrong, component.len() as u64).is_err());

    // A worker that is asked for a job, and asks for engines.
    let identity = Identity::generate().unwrap();
    let worker = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
    let address = worker.local_addr().unwrap();
    let candidate = format!("{address}#{}", identity.node_id()).parse().unwrap();
    let job = eider_tests::request_of(&eider_tests::Job::new("SELECT 1").of(1, 1), vec![candidate]).unwrap();
    let (notices, _) = tokio::sync::watch::channel(eider_node::Notice::default());
    let cancel = tokio_util::sync::CancellationToken::new();
    let asking = requester.clone();
    let stop = cancel.clone();
    let sink = Box::new(eider_node::MemorySink::default());
    let job = tokio::spawn(async move { asking.request(job, sink, notices, stop).await });
    let connection = Endpoint::finish(worker.accept().await.unwrap()).await.unwrap();
    let size = component.len() as u64;
    let ask = async |engine, part| {
        let mut stream = connection.open().await.unwrap();
        let payload = EngineFetch { engine, part }.to_payload();
        stream.sender.frame(Kind::Engine, &payload).await.unwrap();
        let mut all = vec![];
        loop {
            match stream.receiver.bytes().await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) => return Ok(all.len()),
                Err(StreamError::Reset(code)) => return Err(code),
                Err(e) => panic!("{e}"),
            }
        }
    };
    let whole = EnginePart::Component { start: 0, end: size };
    assert_eq!(ask(Hash::from_bytes([1; 32]), EnginePart::Bundle).await, Err(ResetCode::NotGranted));
    for part in [(0, size - 1), (1, size), (size, size), (16_384, 0), (0, u64::MAX)] {
        let part = EnginePart::Component { start: part.0, end: part.1 };
        assert_eq!(ask(engine, part).await, Err(ResetCode::Malformed), "{part:?}");
    }
    for _ in 0..8 {
        assert!(ask(engine, EnginePart::Bundle).await.is_ok());
    }
    assert_eq!(ask(engine, EnginePart::Bundle).await, Err(ResetCode::TooMany));
    let mut had = 0;
    while ask(engine, whole).await.is_ok() {
        had += size;
        assert!(had <= 2 * size + (1 << 20));
    }
    assert_eq!(ask(engine, whole).await, Err(ResetCode::TooMany));
    cancel.cancel();
    let _ = job.await;
}
