//! Genuine vendor evidence: what `tests/vectors` has, and what lies beside the repository. Its README says what is where.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine;
use eider_attest::{AttestPolicy, Binding, Code, Envelope, EvidenceKind, Findings, Given, Reason, Root};
use eider_protocol::{Hash, NodeId, OfferId};

/// The folder of one kind of genuine vectors, for [`file`]. Where some of them are not at hand, a test says that it was skipped;
/// not so in CI.
pub(crate) fn vectors(kind: &str) -> Option<PathBuf> {
    let is_whole = ["sgx", "tdx", "ek"].contains(&kind);
    if !is_whole && std::env::var_os("CI").is_none() && !beside().join(kind).is_dir() {
        println!("SKIPPED: no genuine vectors of {kind}: see attest/core/tests/vectors/README.md");
        return None;
    }
    Some(PathBuf::from(kind))
}

/// Where vectors are that the repository does not have.
fn beside() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("EIDER_ATTEST_VECTORS")
        .map_or_else(|| project.join("../../../shared/attest-vectors"), PathBuf::from)
}

/// A file of that folder. Fails the test if it is neither in the repository nor beside it.
pub(crate) fn file(folder: &Path, name: &str) -> Vec<u8> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [project.join("tests/vectors"), beside()];
    let found = places.iter().map(|place| place.join(folder).join(name)).find(|path| path.is_file());
    let Some(path) = found else {
        panic!("{} is in none of {places:?}: see attest/core/tests/vectors/README.md", folder.join(name).display())
    };
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// DER of every certificate in a PEM file.
pub(crate) fn pem(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    pem::parse_many(file(folder, name)).unwrap().into_iter().map(pem::Pem::into_contents).collect()
}

/// Either alphabet, padded or not, in lines.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    base64::prelude::BASE64_STANDARD_NO_PAD.decode(text).unwrap()
}

/// A pinned root.
pub(crate) fn root(der: &[u8]) -> Root {
    Root { name: "root".into(), sha256: sha256(der), from: "the vectors".into() }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// All codes, sorted, each once: those in the findings and the one that was returned.
pub(crate) fn codes(verdict: &Result<(), Reason>, findings: &Findings) -> Vec<Code> {
    let mut codes: Vec<Code> = findings.reasons.iter().map(|r| r.code).collect();
    codes.extend(verdict.as_ref().err().map(|r| r.code));
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// A floor of a product; `versions` are boot loader, TEE, SNP, microcode, and FMC where the product has one.
pub(crate) fn floor(product: &str, versions: &[u8]) -> String {
    let names = ["boot_loader", "tee", "snp", "microcode", "fmc"];
    let lines: Vec<_> = names.iter().zip(versions).map(|(name, least)| format!("{name} = {least}\n")).collect();
    format!("\n[sev-snp.products.{product}]\nfrom = \"the test\"\n{}", lines.concat())
}

/// A policy for one kind of evidence; `lines` go into its section. Of SEV-SNP, what they do not name is accepted.
pub(crate) fn policy(kind: EvidenceKind, root: &[u8], lines: &str) -> AttestPolicy {
    let sha256 = hex::encode(sha256(root));
    let (mut head, mut tail) = (String::new(), String::new());
    if kind == EvidenceKind::SevSnp {
        if !lines.contains("platform =") {
            head += "platform = [\"smt\"]\n";
        }
        if !lines.contains("vlek_providers =") {
            head += "vlek_providers = [\"CN=cc-us-east-2.amazonaws.com\", \"lab\"]\n";
        }
        if !lines.contains("products") {
            tail = ["milan", "genoa"].map(|product| floor(product, &[0; 4])).concat() + &floor("turin", &[0; 5]);
        }
    }
    let text = format!(
        "name = \"test\"\nclass = \"sensitive\"\nminimum = \"L2\"\n[{kind}]\nroots = [{{ name = \"root\", sha256 = \"{sha256}\", \
         from = \"the test\" }}]\n{head}{lines}\n{tail}"
    );
    AttestPolicy::parse(text.as_bytes()).unwrap()
}

/// An envelope around a vendor's bytes.
pub(crate) fn envelope(kind: EvidenceKind, evidence: Vec<u8>, endorsements: Vec<Vec<u8>>) -> Envelope {
    let endorsements = endorsements.into_iter().map(serde_bytes::ByteBuf::from).collect();
    let offer = OfferId::from_bytes([3; 32]);
    Envelope { v: 1, kind, evidence, log: None, endorsements, offer, nonce: [1; 32], sealing: [2; 32] }
}

/// A binding that no genuine evidence was made for.
pub(crate) fn binding(kind: EvidenceKind, policy: &AttestPolicy) -> Binding {
    Binding {
        kind,
        nonce: [1; 32],
        requester: NodeId::from_bytes([4; 32]),
        offer: OfferId::from_bytes([3; 32]),
        node: NodeId::from_bytes([5; 32]),
        sealing: [2; 32],
        engine: Hash::from_bytes([6; 32]),
        policy: policy.hash(),
    }
}

/// Nothing that was seen before.
pub(crate) static NOTHING_SEEN: BTreeMap<String, u64> = BTreeMap::new();
/// No TPM that was shown before.
pub(crate) static NONE_ACTIVATED: BTreeSet<String> = BTreeSet::new();

/// What a verifier is given.
pub(crate) fn given<'a>(envelope: &'a Envelope, policy: &'a AttestPolicy, now: i64) -> Given<'a> {
    let binding = binding(envelope.kind, policy);
    Given { envelope, binding, now, policy, seen: &NOTHING_SEEN, activated: &NONE_ACTIVATED }
}
