//! What stapled collateral is worth, as who staples it can see: before there is an Offer or a policy.

use crate::{Code, EvidenceKind, Findings, Reason, snp, tdx};

/// How much of what a verifier can want is there, for one piece of evidence at one time. The later is the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Worth {
    /// It does not hold, or is not of this machine.
    Nothing,
    /// It holds, and something of it is not in date.
    Stale,
    /// Without revocation lists, which some policies want.
    NoLists,
    /// All of it, in date; it may say that this machine is revoked.
    Whole,
}

impl Worth {
    /// Of what [`stapled`] says.
    pub fn of(found: &Result<Findings, Reason>) -> Self {
        let Ok(findings) = found else { return Self::Nothing };
        // That a certificate is revoked is true, and no fault of the collateral that says it.
        let faults = || findings.reasons.iter().map(|r| r.code).filter(|code| *code != Code::CertificateRevoked);
        if faults().next().is_none() {
            Self::Whole
        } else if faults().all(|code| code == Code::CollateralMissing) {
            Self::NoLists
        } else {
            Self::Stale
        }
    }
}

/// What is wrong with endorsements, when they are in date, and numbers of theirs that must not fall. Their own root is taken for
/// pinned: whether it is, the requester says.
///
/// # Errors
/// What makes the rest meaningless.
pub fn stapled(kind: EvidenceKind, evidence: &[u8], endorsements: &[Vec<u8>], now: i64) -> Result<Findings, Reason> {
    match kind {
        EvidenceKind::SevSnp => snp::stapled(evidence, endorsements, now),
        EvidenceKind::Tdx => tdx::stapled(evidence, endorsements, now),
        _ => Err(Reason::new(Code::KindUnknown, format!("{kind} evidence has no collateral that is renewed"))),
    }
}
