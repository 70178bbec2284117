//! A machine whose collateral is kept, and a requester that judges what it staples.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eider_attest::{AttestPolicy, Binding, Code, Envelope, EvidenceKind, Findings, Given, snp, tdx};
use eider_attest_device::collateral::{FetchError, Host, Hosts, Keeper, Renewal, RootHash, Source};
use eider_protocol::{Hash, NodeId, OfferId};
use sha2::{Digest, Sha256};

/// Of one request, in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const DAY: i64 = 24 * 60 * 60;

/// Evidence, what the host gives with it, and the keeper.
pub(crate) struct Machine {
    pub(crate) evidence: Vec<u8>,
    pub(crate) given: Vec<Vec<u8>>,
    pub(crate) keeper: Keeper,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) source: Source,
}

/// A service of AMD's kind, and the one root that its certificates must end in.
pub(crate) fn amd(service: Host, root: &[u8]) -> Source {
    let amd_roots = Some(vec![RootHash(Sha256::digest(root).into())]);
    Hosts { amd: Some(service), amd_roots, ..Hosts::default() }.source(EvidenceKind::SevSnp).unwrap()
}

impl Machine {
    pub(crate) fn new(source: Source, evidence: Vec<u8>, given: Vec<Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::open(source.clone(), folder.path().into(), PATIENCE);
        Self { evidence, given, keeper, folder, source }
    }

    /// With another process, and the same disk.
    pub(crate) fn restart(&mut self) {
        self.keeper = Keeper::open(self.source.clone(), self.folder.path().into(), PATIENCE);
    }

    pub(crate) fn renew(&self, now: i64) -> Renewal {
        self.keeper.renew(now, || Ok((self.evidence.clone(), self.given.clone())))
    }

    /// Until when it is good.
    #[track_caller]
    pub(crate) fn renewed(&self, now: i64) -> i64 {
        match self.renew(now) {
            Renewal::Renewed { until, unsaved: None, .. } => until,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn failed(&self, now: i64) -> FetchError {
        match self.renew(now) {
            Renewal::Failed { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn staple(&self, now: i64) -> Vec<Vec<u8>> {
        self.keeper.staple(&self.evidence, self.given.clone(), now)
    }

    /// What a requester finds wrong with what is stapled, under a policy that pins this root and has these lines.
    pub(crate) fn judged(&self, root: &[u8], lines: &str, now: i64) -> Vec<Code> {
        let (kind, report_data) = match self.source {
            Source::Amd { .. } => (EvidenceKind::SevSnp, self.evidence[0x50..0x90].try_into().unwrap()),
            Source::Intel { .. } => (EvidenceKind::Tdx, self.evidence[568..632].try_into().unwrap()),
        };
        let sha256 = hex::encode(Sha256::digest(root));
        let text = format!(
            "name = \"test\"\nclass = \"sensitive\"\nminimum = \"L2\"\n[{kind}]\nany_measurement = true\n\
             roots = [{{ name = \"root\", sha256 = \"{sha256}\", from = \"the test\" }}]\n{lines}\n"
        );
        let policy = AttestPolicy::parse(text.as_bytes()).unwrap();
        let envelope = Envelope {
            v: 1,
            kind,
            evidence: self.evidence.clone(),
            log: None,
            endorsements: self.staple(now).into_iter().map(Into::into).collect(),
            offer: OfferId::from_bytes([3; 32]),
            nonce: [1; 32],
            sealing: [2; 32],
        };
        let binding = Binding {
            kind,
            nonce: [1; 32],
            requester: NodeId::from_bytes([4; 32]),
            offer: OfferId::from_bytes([3; 32]),
            node: NodeId::from_bytes([5; 32]),
            sealing: [2; 32],
            engine: Hash::from_bytes([6; 32]),
            policy: policy.hash(),
        };
        let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
        let given = Given { envelope: &envelope, binding, now, policy: &policy, seen: &seen, activated: &activated };
        let mut findings = Findings::default();
        let verdict = match kind {
            EvidenceKind::SevSnp => snp::verify(&report_data, &given, &mut findings),
            _ => tdx::verify(&given, &report_data, &mut findings),
        };
        findings.reasons.into_iter().chain(verdict.err()).map(|reason| reason.code).collect()
    }
}
