//! What stapled collateral is worth, as who staples it can see: before there is an Offer or a policy.

use crate::{Code, EvidenceKind, Findings, Reason, Root, snp, tdx};

/// How much of what a verifier can want is there, for one piece of evidence at one time. The later is the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Worth {
    /// It does not hold, is not of this machine, or is by nobody who is known.
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
        if faults().any(|code| code == Code::RootUnpinned) {
            Self::Nothing
        } else if faults().next().is_none() {
            Self::Whole
        } else if faults().all(|code| code == Code::CollateralMissing) {
            Self::NoLists
        } else {
            Self::Stale
        }
    }
}

/// What is wrong with endorsements, when they are in date, and numbers of theirs that must not fall. `roots` are those of SEV-SNP's
/// chains; TDX's collateral must end in the root that the quote ends in, which whoever sends collateral does not choose. Whether the
/// requester trusts it is for the requester to say.
///
/// # Errors
/// What makes the rest meaningless.
pub fn stapled(
    kind: EvidenceKind,
    evidence: &[u8],
    endorsements: &[Vec<u8>],
    roots: &[Root],
    now: i64,
) -> Result<Findings, Reason> {
    match kind {
        EvidenceKind::SevSnp => snp::stapled(evidence, endorsements, roots, now),
        EvidenceKind::Tdx => tdx::stapled(evidence, endorsements, now),
        _ => Err(Reason::new(Code::KindUnknown, format!("{kind} evidence has no collateral that is renewed"))),
    }
}
