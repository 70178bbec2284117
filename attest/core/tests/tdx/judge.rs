//! A quote, its collateral, a policy and a time; and the verdict.

use std::collections::BTreeMap;

use eider_attest::{
    AttestPolicy, Binding, Code, Envelope, EvidenceKind, Findings, Given, Reason, Verifier,
    tdx::{self, Tdx},
};
use eider_protocol::{Hash, NodeId, OfferId};
use serde_json::Value;

use super::common::file;

/// SHA-256 of Intel's root.
pub(crate) const INTEL: &str = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";

/// What is judged. Tests change one field at a time.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) quote: Vec<u8>,
    pub(crate) collateral: Value,
    pub(crate) report_data: [u8; 64],
    pub(crate) now: i64,
    pub(crate) root: String,
    /// Lines of the policy's section.
    pub(crate) accept: String,
    pub(crate) seen: BTreeMap<String, u64>,
}

/// What came out.
pub(crate) struct Verdict {
    pub(crate) findings: Findings,
    pub(crate) reasons: Vec<Reason>,
}

impl Verdict {
    pub(crate) fn codes(&self) -> Vec<Code> {
        self.reasons.iter().map(|r| r.code).collect()
    }

    /// The only reason's detail.
    #[track_caller]
    pub(crate) fn only(&self, code: Code) -> &str {
        assert_eq!(self.codes(), [code], "{:?}", self.reasons);
        &self.reasons[0].detail
    }

    #[track_caller]
    pub(crate) fn proven(&self) {
        assert!(self.reasons.is_empty(), "{:?}", self.reasons);
    }
}

impl Case {
    /// From the samples.
    pub(crate) fn genuine(name: &str, now: i64) -> Self {
        let (quote, collateral) = (vector(name), vector(&format!("{name}_collateral.json")));
        let report_data = report_data(&quote);
        let collateral = serde_json::from_slice(&collateral).unwrap();
        let accept =
            "any_measurement = true\nstatuses = [\"UpToDate\"]\nplatform = [\"dynamic\", \"cached-keys\", \"smt\"]"
                .into();
        Self { quote, collateral, report_data, now, root: INTEL.into(), accept, seen: BTreeMap::new() }
    }

    pub(crate) fn policy(&self) -> AttestPolicy {
        let text = format!(
            "name = \"test\"\nclass = \"sensitive\"\nminimum = \"L2\"\n[tdx]\n\
             roots = [{{ name = \"root\", sha256 = \"{}\", from = \"test\" }}]\n{}\n",
            self.root, self.accept
        );
        AttestPolicy::parse(text.as_bytes()).unwrap()
    }

    /// With further lines of the policy.
    pub(crate) fn with_lines(&self, lines: &str) -> Self {
        Self { accept: format!("{}\n{lines}", self.accept), ..self.clone() }
    }

    pub(crate) fn envelope(&self) -> Envelope {
        let collateral = serde_json::to_vec(&self.collateral).unwrap();
        envelope(self.quote.clone(), vec![collateral])
    }

    pub(crate) fn judge(&self) -> Verdict {
        self.judge_envelope(&self.envelope())
    }

    pub(crate) fn judge_envelope(&self, envelope: &Envelope) -> Verdict {
        self.with(envelope, |given, findings| tdx::verify(given, &self.report_data, findings))
    }

    /// As bids are judged: against a binding's digest.
    pub(crate) fn judge_bound(&self) -> Verdict {
        self.with(&self.envelope(), |given, findings| Tdx.verify(given, findings))
    }

    fn with(
        &self,
        envelope: &Envelope,
        verify: impl FnOnce(&Given<'_>, &mut Findings) -> Result<(), Reason>,
    ) -> Verdict {
        let (policy, activated) = (self.policy(), [].into());
        let binding = Binding {
            kind: EvidenceKind::Tdx,
            nonce: [1; 32],
            requester: NodeId::from_bytes([2; 32]),
            offer: OfferId::from_bytes([3; 32]),
            node: NodeId::from_bytes([4; 32]),
            sealing: [5; 32],
            engine: Hash::from_bytes([6; 32]),
            policy: policy.hash(),
        };
        let given =
            Given { envelope, binding, now: self.now, policy: &policy, seen: &self.seen, activated: &activated };
        let mut findings = Findings::default();
        let result = verify(&given, &mut findings);
        let mut reasons = findings.reasons.clone();
        reasons.extend(result.err());
        Verdict { findings, reasons }
    }
}

pub(crate) fn envelope(evidence: Vec<u8>, endorsements: Vec<Vec<u8>>) -> Envelope {
    Envelope {
        v: 1,
        kind: EvidenceKind::Tdx,
        evidence,
        log: None,
        endorsements: endorsements.into_iter().map(Into::into).collect(),
        offer: OfferId::from_bytes([3; 32]),
        nonce: [1; 32],
        sealing: [5; 32],
    }
}

/// The 64 bytes that a quote of version 4 or 5 is bound to.
pub(crate) fn report_data(quote: &[u8]) -> [u8; 64] {
    let body = if quote[0] == 5 { 54 } else { 48 };
    quote[body + 520..body + 584].try_into().unwrap()
}

/// A genuine vector, of `tdx/` unless it says otherwise.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let (folder, name) = name.split_once('/').unwrap_or(("tdx", name));
    file(std::path::Path::new(folder), name)
}
