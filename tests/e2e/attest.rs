//! Hardware claims from end to end: a worker with a TPM (swtpm, the software one), a policy that wants L1, a job, its
//! archive; and bidders that lie about their hardware in each way that a wire allows.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use eider_attest::{Binding, Code, Envelope, EvidenceKind, Tier};
use eider_net::Endpoint;
use eider_node::{Attester, Candidate, JobRecord, Notice, PeerRecord, Requester, Requirement, audit};
use eider_protocol::{Accept, Bid, Identity, Kind, Offer, OfferId, Signed, Version};
use eider_tests::process::eventually;
use eider_tests::{Behaviour::Honest, Grid, Job, Machine, eider, engine_cache, request_of};
use serde_bytes::ByteBuf;

/// One software TPM serves one program at a time.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn codes(peer: &PeerRecord) -> Vec<Code> {
    peer.appraisal.as_ref().map(|a| a.reasons.iter().map(|r| r.code).collect()).unwrap_or_default()
}

fn job(policy: &str) -> Job {
    let mut job = Job { attest: Some(Requirement::parse(policy).unwrap()), ..Job::new("SELECT 42 AS answer").of(1, 1) };
    // Making a key in a software TPM is slow where the processor is busy.
    job.plan.bid_timeout_ms = 60_000;
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_proves_l1_with_its_tpm_and_a_changed_register_is_found() {
    let _one = ONE.lock().await;
    let Some(machine) = Machine::start() else { return };
    let grid = Grid::start(&[Honest], &["--policy", &machine.worker_policy()]).unwrap();
    let fresh = job(&machine.policy(""));
    let ran = grid.run(&fresh).await.unwrap();
    assert_eq!(ran.csv().unwrap(), "42\n", "{}: {}", ran.record.reason, ran.record.peers[0].fate);
    let proven = |record: &JobRecord| {
        let a = record.peers[0].appraisal.clone().unwrap();
        assert_eq!((a.claimed, a.tier, a.reasons.len()), (Tier::L1, Tier::L1, 0));
        a
    };
    assert!(!proven(&ran.record).reused && ran.record.first(|w| *w == eider_node::What::Challenge).is_some());
    // The TPM has shown its keys; each job has new evidence unless the policy lets it be used again.
    let again = grid.run(&fresh).await.unwrap().record;
    assert!(again.first(|w| *w == eider_node::What::Challenge).is_none());
    assert_ne!(proven(&again).envelope, proven(&ran.record).envelope);
    let lasting = job(&machine.policy("reuse = \"10m\""));
    let first = proven(&grid.run(&lasting).await.unwrap().record);
    let second = proven(&grid.run(&lasting).await.unwrap().record);
    assert!(!first.reused && second.reused && first.envelope == second.envelope);

    // What is too old for the policy is made anew, not sent again.
    let brief = job(&machine.policy("reuse = \"1s\""));
    let first = proven(&grid.run(&brief).await.unwrap().record);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let second = proven(&grid.run(&brief).await.unwrap().record);
    assert!(!second.reused && first.envelope != second.envelope);

    machine.tpm().tpm().unwrap().extend(16, &[1; 32]).unwrap();
    let changed = grid.run(&fresh).await.unwrap();
    assert_eq!(changed.record.end.word(), "no-candidates");
    let peer = &changed.record.peers[0];
    assert_eq!((codes(peer), peer.at_fault), (vec![Code::PcrMismatch], false));
    assert!(peer.fate.to_string().starts_with("unfit: L0, policy lab wants L1; pcr-mismatch: "), "{}", peer.fate);
    assert!(changed.bytes.is_empty());
    // Whoever asks for nothing is served all the same.
    assert_eq!(grid.run(&Job::new("SELECT 1").of(1, 1)).await.unwrap().csv().unwrap(), "1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_evidence_is_unfit_and_so_is_one_with_evidence_for_development() {
    let dir = tempfile::tempdir().unwrap();
    let development = dir.path().join("worker.toml");
    std::fs::write(&development, "listen = \"127.0.0.1:0\"\n[attest]\nkind = \"development\"\n").unwrap();
    let mut grid = Grid::start(&[Honest], &["--policy", development.to_str().unwrap()]).unwrap();
    grid.add(Honest, &[]).unwrap();
    let policy = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/attest").join(name);
        Requirement::parse(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    let internal = Job { attest: Some(policy("internal.toml")), ..Job::new("SELECT 1").of(1, 1) };
    let refused = grid.run(&internal).await.unwrap().record;
    assert_eq!(refused.end.word(), "no-candidates");
    let by = |record: &JobRecord, i: usize| {
        let node = grid.candidates()[i].node;
        record.peers.iter().find(|p| p.node == node).unwrap().clone()
    };
    assert_eq!(codes(&by(&refused, 0)), [Code::Development]);
    assert_eq!(codes(&by(&refused, 1)), [Code::EvidenceAbsent]);
    let trying = Job { attest: Some(policy("development.toml")), ..internal };
    let ran = grid.run(&trying).await.unwrap();
    assert_eq!(ran.csv().unwrap(), "1\n", "{}", ran.record.reason);
    assert_eq!(codes(&by(&ran.record, 1)), [Code::EvidenceAbsent]);
    // Sensitive data is for L2 alone, which nobody here proves.
    let sensitive = Job { attest: Some(policy("sensitive.toml")), ..trying };
    assert_eq!(grid.run(&sensitive).await.unwrap().record.end.word(), "no-candidates");
}

/// No machine with a TEE is at hand: what a worker says that cannot even see which collateral it wants.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_collateral_is_not_renewed_says_so_once_and_serves() {
    if Path::new(eider_attest_device::tsm::ROOT).exists() {
        return println!("SKIPPED: this machine is a guest of SEV-SNP or TDX");
    }
    let (dir, service) = (tempfile::tempdir().unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    service.set_nonblocking(true).unwrap();
    let policy = dir.path().join("worker.toml");
    let host = service.local_addr().unwrap();
    let text =
        format!("listen = \"127.0.0.1:0\"\n[attest]\nkind = \"sev-snp\"\n[collateral]\namd = \"http://{host}\"\n");
    std::fs::write(&policy, text).unwrap();
    let grid = Grid::start(&[Honest], &["--policy", policy.to_str().unwrap()]).unwrap();
    assert_eq!(grid.run(&Job::new("SELECT 1").of(1, 1)).await.unwrap().csv().unwrap(), "1\n");
    let said = || {
        let log = grid.log(0);
        if log.contains("collateral is not renewed") { Ok(log) } else { Err(log) }
    };
    let log = eventually(said).await;
    assert_eq!(log.matches("collateral is not renewed").count(), 1, "{log}");
    assert!(log.contains("no guest of SEV-SNP or TDX"), "cause and fix: {log}");
    assert!(service.accept().is_err(), "nobody is asked for a machine that is none");
}

/// What a bidder makes of an Offer: the bytes of its evidence, and the sealing key that its Bid names.
type Lie = dyn Fn(&Offer, OfferId) -> (Vec<u8>, [u8; 32]) + Send + Sync;

/// Asks one bidder, which answers with `lie`, and gives its part of the record.
async fn ask(requester: &Requester, bidder: &Identity, policy: &str, lie: Arc<Lie>) -> PeerRecord {
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), bidder).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let (signer, serving) = (bidder.clone(), endpoint.clone());
    let served = tokio::spawn(async move {
        let connection = Endpoint::finish(serving.accept().await.unwrap()).await.unwrap();
        let mut stream = connection.accept().await.unwrap();
        let offer = stream
            .receiver
            .expect_of(Kind::ALL)
            .await
            .unwrap()
            .open::<Offer>(Version::LATEST, connection.node())
            .unwrap();
        let id = OfferId::from_bytes(*offer.content_hash().as_bytes());
        let message = offer.message().clone();
        let (evidence, sealing) = tokio::task::spawn_blocking(move || lie(&message, id)).await.unwrap();
        let accept = Accept { eta_ms: 0, price: 0, free_memory: 4 << 30, free_jobs: 1 };
        let bid = Bid { offer: id, answer: Ok(accept), sealing, evidence: Some(ByteBuf::from(evidence)) };
        stream.sender.send(&Signed::sign(&signer, Version::LATEST, bid)).await.unwrap();
        // Until the requester has made up its mind.
        let _ = stream.receiver.frame_of(Kind::ALL).await;
    });
    let candidates = vec![Candidate { address, node: Some(bidder.node_id()) }];
    let request = request_of(&job(policy), candidates).unwrap();
    let (notices, _) = tokio::sync::watch::channel(Notice::default());
    let cancel = tokio_util::sync::CancellationToken::new();
    let record = requester.request(request, Box::new(eider_node::Discard), notices, cancel).await.unwrap();
    served.abort();
    assert_eq!(record.end.word(), "no-candidates");
    record.peers[0].clone()
}

/// Binding and envelope of an honest worker with this TPM, to be spoilt.
fn honest(tpm: &dyn Attester, node: &Identity, offer: &Offer, id: OfferId, sealing: [u8; 32]) -> (Binding, Envelope) {
    let binding = Binding {
        kind: EvidenceKind::Tpm2,
        nonce: offer.nonce,
        requester: offer.requester,
        offer: id,
        node: node.node_id(),
        sealing,
        engine: offer.engine,
        policy: offer.attest.unwrap().policy,
    };
    let envelope = Envelope {
        v: 1,
        kind: EvidenceKind::Tpm2,
        evidence: vec![],
        log: None,
        endorsements: vec![],
        offer: id,
        nonce: offer.nonce,
        sealing,
    };
    (binding, filled(tpm, &binding, envelope))
}

fn filled(tpm: &dyn Attester, binding: &Binding, mut envelope: Envelope) -> Envelope {
    let made = tpm.produce(binding).unwrap();
    envelope.evidence = made.evidence;
    envelope.endorsements = made.endorsements.into_iter().map(ByteBuf::from).collect();
    envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lie_about_hardware_has_its_reason() {
    let _one = ONE.lock().await;
    let Some(machine) = Machine::start() else { return };
    let (tpm, policy) = (machine.attester(), machine.policy(""));
    let (me, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let requester = Requester::new(Identity::generate().unwrap(), std::env::temp_dir());
    const KEY: [u8; 32] = [5; 32];
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let keep = kept.clone();
    type Spoil = Box<dyn Fn(&dyn Attester, &Identity, &Identity, &Offer, OfferId) -> (Vec<u8>, [u8; 32]) + Send + Sync>;
    let cases: Vec<(Code, Spoil)> = vec![
        // Right in all but its certificate's root, so that its envelope is one to keep and to replay.
        (
            Code::ActivationMissing,
            Box::new(move |tpm, me, _, offer, id| {
                let bytes = honest(tpm, me, offer, id, KEY).1.sign(me);
                keep.lock().unwrap().clone_from(&bytes);
                (bytes, KEY)
            }),
        ),
        (Code::NonceMismatch, Box::new(move |_, _, _, _, _| (kept.lock().unwrap().clone(), KEY))),
        (
            Code::BindingMismatch,
            Box::new(|tpm, me, _, offer, id| {
                let (binding, envelope) = honest(tpm, me, offer, id, KEY);
                (filled(tpm, &Binding { nonce: [1; 32], ..binding }, envelope).sign(me), KEY)
            }),
        ),
        (
            Code::BindingMismatch,
            Box::new(|tpm, me, other, offer, id| {
                let (binding, envelope) = honest(tpm, me, offer, id, KEY);
                (filled(tpm, &Binding { node: other.node_id(), ..binding }, envelope).sign(me), KEY)
            }),
        ),
        (
            Code::NodeMismatch,
            Box::new(|tpm, _, other, offer, id| (honest(tpm, other, offer, id, KEY).1.sign(other), KEY)),
        ),
        (
            Code::SealingMismatch,
            Box::new(|tpm, me, _, offer, id| (honest(tpm, me, offer, id, KEY).1.sign(me), [6; 32])),
        ),
        (
            Code::KindNotAccepted,
            Box::new(|tpm, me, _, offer, id| {
                let envelope = honest(tpm, me, offer, id, KEY).1;
                (Envelope { kind: EvidenceKind::SevSnp, ..envelope }.sign(me), KEY)
            }),
        ),
        (
            Code::EnvelopeMalformed,
            Box::new(|tpm, me, _, offer, id| {
                let mut bytes = honest(tpm, me, offer, id, KEY).1.sign(me);
                bytes.push(0);
                (bytes, KEY)
            }),
        ),
        (Code::EnvelopeTooLarge, Box::new(|_, _, _, _, _| (vec![0; eider_attest::ENVELOPE_MAX + 1], KEY))),
    ];
    for (n, (code, spoil)) in cases.into_iter().enumerate() {
        let (tpm, me2, other) = (tpm.clone(), me.clone(), other.clone());
        let lie = Arc::new(move |offer: &Offer, id: OfferId| spoil(&*tpm, &me2, &other, offer, id));
        let peer = ask(&requester, &me, &policy, lie).await;
        if n == 0 {
            // It was asked to open a credential, and left.
            assert!(peer.appraisal.is_none(), "{}", peer.fate);
            continue;
        }
        assert_eq!(codes(&peer), [code], "case {n}: {}", peer.fate);
        assert!(peer.fate.to_string().contains(code.word()) && !peer.at_fault, "case {n}: {}", peer.fate);
        assert_eq!(peer.appraisal.as_ref().unwrap().tier, Tier::L0);
    }
}

/// The program with a home of its own.
fn run(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(eider());
    command.args(args).env("EIDER_HOME", home).env("EIDER_CACHE", engine_cache()).output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_repeats_every_verdict_from_the_archive_alone() {
    let _one = ONE.lock().await;
    let Some(machine) = Machine::start() else { return };
    let grid = Grid::start(&[Honest], &["--policy", &machine.worker_policy()]).unwrap();
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str, content: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    };
    let lab = file("lab.toml", &machine.policy(""));
    let worker = format!("{}#{}", grid.candidates()[0].address, grid.candidates()[0].node.unwrap());
    let ran =
        run(home.path(), &["query", "-w", &worker, "-k", "1", "--class", "internal", "--attest", &lab, "SELECT 42"]);
    assert!(ran.status.success(), "{}", text(&ran));
    let listed =
        run(home.path(), &["audit", "list", "--json", "--where", "class = 'internal' AND won AND verified = 'L1'"]);
    let row: serde_json::Value =
        serde_json::from_slice(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&listed)));
    let job = row["job"].as_str().unwrap().to_string();
    let none = run(home.path(), &["audit", "list", "--json", "--where", "verified < claimed"]);
    assert!(none.status.success() && none.stdout.is_empty(), "{}", text(&none));
    assert!(text(&run(home.path(), &["audit", "show", &job])).contains("claimed L1 by tpm2, L1 proven"));

    let archive = home.path().join("job.tar");
    let path = archive.to_str().unwrap();
    let exported = run(home.path(), &["audit", "export", &job, "-o", path]);
    assert!(exported.status.success(), "{}", text(&exported));
    // On a machine without store, and without network where one can be taken away.
    let mut offline = Command::new("unshare");
    offline.args(["--user", "--map-root-user", "--net"]).arg(eider());
    let has_unshare = Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).status();
    let mut command = if has_unshare.is_ok_and(|s| s.success()) { offline } else { Command::new(eider()) };
    let verified = command.args(["audit", "verify", path]).env("EIDER_HOME", elsewhere.path()).output().unwrap();
    assert!(verified.status.success() && text(&verified).contains("then:  L1 proven"), "{}", text(&verified));
    assert!(text(&verified).contains("today: L1 proven"), "{}", text(&verified));
    // What it is not, an audit says too; and whose it must be can be said.
    assert!(text(&verified).contains("the requester's word alone:"), "{}", text(&verified));
    let requester = audit::open(&std::fs::read(&archive).unwrap()).unwrap().record.requester.to_string();
    let by = |node: &str| run(elsewhere.path(), &["audit", "verify", path, "--by", node]);
    assert!(by(&requester).status.success(), "{}", text(&by(&requester)));
    let other = by(&Identity::generate().unwrap().node_id().to_string());
    assert_eq!(other.status.code(), Some(1), "{}", text(&other));
    assert!(text(&other).contains("anybody can make one"), "{}", text(&other));
    // Out of its certificates' time: then as it was, today not.
    let late = run(elsewhere.path(), &["audit", "verify", path, "--at", "2000-01-01T00:00:00Z"]);
    assert_eq!(late.status.code(), Some(4), "{}", text(&late));
    assert!(
        text(&late).contains("then:  L1 proven") && text(&late).contains("today certificate-expired"),
        "{}",
        text(&late)
    );

    // A policy that raises the floor flips the job; one that knows another boot does too; its own does not.
    let floor = machine.policy("").replace("minimum = \"L1\"", "minimum = \"L2\"")
        + "[nitro]\nroots = [{ name = \"n\", sha256 = \""
        + &"ab".repeat(32)
        + "\", from = \"this test\" }]\n";
    let other = machine.policy("").replace(&"0".repeat(64), &"1".repeat(64));
    for (name, content, flips) in
        [("floor.toml", floor, true), ("other.toml", other, true), ("same.toml", machine.policy(""), false)]
    {
        let policy = file(name, &content);
        for args in [vec!["audit", "diff", "--policy", &policy], vec!["audit", "diff", "--policy", &policy, path]] {
            let diff = run(home.path(), &args);
            assert_eq!(diff.status.code(), Some(if flips { 4 } else { 0 }), "{name}: {}", text(&diff));
            assert_eq!(text(&diff).contains("now FAILS"), flips, "{name}: {}", text(&diff));
        }
    }

    // Any one byte that is changed is found.
    let whole = std::fs::read(&archive).unwrap();
    assert!(audit::open(&whole).is_ok());
    let chunk = whole.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
    std::thread::scope(|scope| {
        for start in (0..whole.len()).step_by(chunk) {
            let mut bytes = whole.clone();
            scope.spawn(move || {
                for i in start..(start + chunk).min(bytes.len()) {
                    bytes[i] ^= 1;
                    assert!(audit::open(&bytes).is_err(), "byte {i} does not matter");
                    bytes[i] ^= 1;
                }
            });
        }
    });
    for length in (0..whole.len()).step_by(512) {
        assert!(audit::open(&whole[..length]).is_err(), "{length} bytes of it will do");
    }
}
