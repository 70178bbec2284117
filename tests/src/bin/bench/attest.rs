//! What a proof of hardware costs: its appraisal, and in a job's life.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use eider_attest::{AttestPolicy, Binding, Code, Envelope, EvidenceKind, Findings, Given, verifier};
use eider_node::Requirement;
use eider_protocol::{Hash, NodeId, OfferId};
use eider_tests::{Behaviour::Honest, Grid, Job, Machine};
use serde_bytes::ByteBuf;

use crate::median;

/// Times of these are the medians of so many.
const ROUNDS: usize = 40;

pub(crate) async fn attest() -> Result<()> {
    appraisals()?;
    jobs().await
}

/// Kind, evidence, endorsements, time.
type Genuine = (EvidenceKind, Vec<u8>, Vec<Vec<u8>>, i64);

/// Genuine evidence with the time at which it was valid, and what it needs of a policy.
fn genuine(folder: &Path) -> Result<Vec<Genuine>> {
    let read = |name: &str| std::fs::read(folder.join(name)).with_context(|| name.to_string());
    let pem = |name: &str| -> Result<Vec<Vec<u8>>> {
        Ok(pem::parse_many(read(name)?)?.into_iter().map(pem::Pem::into_contents).collect())
    };
    let report = hex::decode(String::from_utf8(read("snp/report_milan.hex")?)?.trim())?;
    let chain = [vec![read("snp/vcek_milan.der")?], pem("snp/cert_chain_milan")?].concat();
    Ok(vec![
        (EvidenceKind::Tdx, read("tdx/tdx_quote")?, vec![read("tdx/tdx_quote_collateral.json")?], 1_750_414_563),
        (EvidenceKind::SevSnp, report, chain, 1_700_000_000),
        (EvidenceKind::Nitro, read("nitro/na_attestation.cose")?, vec![], 1_736_179_625),
    ])
}

/// The shipped policy, with any code, and with Milan, of which the genuine report is.
fn lenient() -> Result<AttestPolicy> {
    let text = include_str!("../../../../policies/attest/internal.toml");
    let milan = "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd";
    let root = format!("[sev-snp]\nroots = [\n{{ name = \"ARK-Milan\", sha256 = \"{milan}\", from = \"its chain\" }},");
    let floor = "[sev-snp.products.milan]\nboot_loader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\nfrom = \"anything\"\n";
    let text = text.replace("measurements = []", "any_measurement = true").replace("[sev-snp]\nroots = [", &root);
    // A report of before firmware looked for aliases.
    let text = text.replace("platform = [\"smt\"]", "platform = [\"smt\", \"aliases-unchecked\"]");
    Ok(AttestPolicy::parse(format!("{text}\n{floor}").as_bytes())?)
}

/// An envelope that is filled but for its signature, and what it is bound to.
fn bound(kind: EvidenceKind, policy: &AttestPolicy) -> (Envelope, Binding) {
    let offer = OfferId::from_bytes([0; 32]);
    let envelope = Envelope {
        v: 1,
        kind,
        evidence: vec![],
        log: None,
        endorsements: vec![],
        offer,
        nonce: [0; 32],
        sealing: [0; 32],
    };
    let nobody = NodeId::from_bytes([0; 32]);
    let binding = Binding {
        kind,
        nonce: [0; 32],
        requester: nobody,
        offer,
        node: nobody,
        sealing: [0; 32],
        engine: Hash::from_bytes([0; 32]),
        policy: policy.hash(),
    };
    (envelope, binding)
}

/// Milliseconds of an appraisal, which must find nothing wrong but `but`.
fn appraisal(envelope: &Envelope, binding: Binding, now: i64, policy: &AttestPolicy, but: Code) -> Result<f64> {
    let mut times = vec![];
    for _ in 0..ROUNDS {
        let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
        let given = Given { envelope, binding, now, policy, seen: &seen, activated: &activated };
        let (mut findings, started) = (Findings::default(), Instant::now());
        let verdict = verifier(envelope.kind).context("a verifier")?.verify(&given, &mut findings);
        times.push(started.elapsed().as_secs_f64() * 1e3);
        findings.reasons.extend(verdict.err());
        let others: Vec<_> = findings.reasons.iter().filter(|r| r.code != but).collect();
        ensure!(others.is_empty(), "{}: {others:?}", envelope.kind);
    }
    Ok(median(times))
}

fn tpm(machine: &Machine) -> Result<()> {
    let policy = AttestPolicy::parse(machine.policy("").as_bytes())?;
    let (mut envelope, binding) = bound(EvidenceKind::Tpm2, &policy);
    let made = machine.attester().produce(&binding).map_err(anyhow::Error::msg)?;
    envelope.evidence = made.evidence;
    envelope.endorsements = made.endorsements.into_iter().map(ByteBuf::from).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let took = appraisal(&envelope, binding, i64::try_from(now)?, &policy, Code::ActivationMissing)?;
    println!("appraisal of tpm2 evidence (software TPM): p50 {took:.2} ms");
    Ok(())
}

fn appraisals() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attest/core/tests/vectors");
    let policy = lenient()?;
    for (kind, evidence, endorsements, now) in genuine(&folder)? {
        let (mut envelope, binding) = bound(kind, &policy);
        envelope.evidence = evidence;
        envelope.endorsements = endorsements.into_iter().map(ByteBuf::from).collect();
        // It was made for something else than our offer, which is all that is wrong with it.
        let took = appraisal(&envelope, binding, now, &policy, Code::BindingMismatch)?;
        println!("appraisal of genuine {kind} evidence: p50 {took:.2} ms");
    }
    Ok(())
}

async fn jobs() -> Result<()> {
    let Some(machine) = Machine::start() else { return Ok(()) };
    tpm(&machine)?;
    let grid = Grid::start(&[Honest], &["--policy", &machine.worker_policy()])?;
    let plain = Job::new("SELECT 1").of(1, 1);
    let with = |more: &str| -> Result<Job> {
        Ok(Job { attest: Some(Requirement::parse(&machine.policy(more))?), ..plain.clone() })
    };
    let (fresh, reused) = (with("")?, with("reuse = \"10m\"")?);
    // The first time, its TPM opens a credential.
    let first = grid.run(&fresh).await?.record.timeline.last().context("no end")?.ms;
    grid.run(&reused).await?;
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS / 2 {
        for (job, times) in [&plain, &fresh, &reused].into_iter().zip(&mut times) {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            let ran = grid.run(job).await?;
            ensure!(ran.record.end.word() == "verified", "{}", ran.record.reason);
            times.push(ran.record.timeline.last().context("no end")?.ms);
        }
    }
    let [plain, fresh, reused] = times.map(median);
    println!(
        "SELECT 1 on one worker: {plain:.1} ms; with L1 evidence made for it {:.1} ms more (software TPM), used again {:.1} ms \
         more, with the first credential {:.1} ms more",
        fresh - plain,
        reused - plain,
        first - plain
    );
    Ok(())
}
