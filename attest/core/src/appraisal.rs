//! The verdict on a piece of evidence, and how it is reached.

use std::collections::{BTreeMap, BTreeSet};

use eider_protocol::{Hash, NodeId, OfferId};
use serde::{Deserialize, Serialize};

use crate::nitro::Nitro;
use crate::snp::SevSnp;
use crate::{AttestPolicy, Binding, Class, Code, Envelope, EnvelopeError, EvidenceKind, Reason, Tier};

/// What is known of one property, in the words of AR4SI (draft-ietf-rats-ar4si).
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The evidence says nothing of it.
    #[default]
    None,
    /// As the policy wants.
    Affirming,
    /// Known, and not among what the policy names.
    Warning,
    /// Known to be bad.
    Contraindicated,
}

/// Trustworthiness claims, with AR4SI's field names.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustVector {
    /// Whose it is: signature, chain, binding.
    pub instance_identity: Status,
    /// Debugging, privilege level, platform settings.
    pub configuration: Status,
    /// What runs: measurements, registers.
    pub executables: Status,
    /// The chip and its firmware.
    pub hardware: Status,
}

/// When a verdict holds, seconds since 1970, both ends included.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub until: i64,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: i64::MIN, until: i64::MAX }
    }
}

impl Window {
    /// Both.
    pub fn narrow(&mut self, from: i64, until: i64) {
        self.from = self.from.max(from);
        self.until = self.until.min(until);
    }
}

/// What evidence proves under one policy at one time.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Appraisal {
    /// What kind of evidence, if any.
    pub kind: Option<EvidenceKind>,
    /// What its kind proves at best.
    pub claimed: Tier,
    /// What it proves.
    pub tier: Tier,
    /// By property.
    pub vector: TrustVector,
    /// What the evidence says, by name: registers, versions, chip.
    pub claims: BTreeMap<String, String>,
    /// Why the tier is below the claim; empty if it is not.
    pub reasons: Vec<Reason>,
    /// When certificates and collateral are valid.
    pub window: Window,
    /// Numbers that must never fall: CRL numbers, TCB evaluations. To be kept and given to the next appraisal.
    pub collateral: BTreeMap<String, u64>,
    /// An endorsement key and an attestation key that have to be shown to live in one TPM.
    pub activation: Option<String>,
    /// Whether it was made for another offer of this requester and used again.
    pub reused: bool,
    /// BLAKE3 of the envelope's bytes.
    pub envelope: Option<Hash>,
    /// Hash of the policy.
    pub policy: Hash,
    /// The time of the verdict, seconds since 1970.
    pub at: i64,
}

impl Appraisal {
    /// Whether evidence was absent, invalid or insufficient; `None` if it proves what it claims.
    pub fn lack(&self) -> Option<Class> {
        let has = |class| self.reasons.iter().any(|r| r.code.class() == class).then_some(class);
        has(Class::Absent).or(has(Class::Invalid)).or(has(Class::Insufficient))
    }
}

/// What a verifier is given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Evidence, log and endorsements.
    pub envelope: &'a Envelope,
    /// What it must be bound to.
    pub binding: Binding,
    /// Seconds since 1970.
    pub now: i64,
    /// What is wanted.
    pub policy: &'a AttestPolicy,
    /// The highest numbers of collateral that were seen before.
    pub seen: &'a BTreeMap<String, u64>,
    /// Pairs of endorsement and attestation key that were shown to live in one TPM, as [`Appraisal::activation`] names them.
    pub activated: &'a BTreeSet<String>,
}

/// What a verifier has found so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// By property.
    pub vector: TrustVector,
    /// By name.
    pub claims: BTreeMap<String, String>,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// Until when.
    pub window: Window,
    /// Numbers that must never fall.
    pub collateral: BTreeMap<String, u64>,
    /// As [`Appraisal::activation`].
    pub activation: Option<String>,
}

impl Findings {
    /// One more reason.
    pub fn reason(&mut self, code: Code, detail: impl Into<String>) {
        self.reasons.push(Reason::new(code, detail));
    }

    /// One more claim.
    pub fn claim(&mut self, name: &str, value: impl ToString) {
        self.claims.insert(name.into(), value.to_string());
    }
}

/// A verifier of one kind of evidence. Pure: all that it may depend on is in [`Given`].
pub trait Verifier: Sync {
    /// Looks at all of it, and adds to `findings`. What makes the rest meaningless is returned; the caller adds it.
    ///
    /// # Errors
    /// The reason.
    fn verify(&self, given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason>;
}

/// The verifier of a kind; development evidence has none.
pub fn verifier(kind: EvidenceKind) -> Option<&'static dyn Verifier> {
    match kind {
        EvidenceKind::Tpm2 => Some(&crate::tpm2::Tpm2),
        EvidenceKind::SevSnp => Some(&SevSnp),
        EvidenceKind::Tdx => Some(&crate::tdx::Tdx),
        EvidenceKind::Nitro => Some(&Nitro),
        EvidenceKind::Development => None,
    }
}

/// An offer of this requester that evidence may have been made for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// Its id.
    pub offer: OfferId,
    /// Its nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// When it was made, seconds since 1970.
    pub at: i64,
}

/// What evidence is judged against, beside the policy.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Who asked.
    pub requester: NodeId,
    /// Who bids.
    pub node: NodeId,
    /// The sealing key in the Bid.
    pub sealing: [u8; 32],
    /// Engine of the Offer.
    pub engine: Hash,
    /// Hash of the policy that the Offer named: what the evidence is bound to, whatever policy it is judged under now.
    pub demanded: Hash,
    /// The Offer.
    pub offer: Issued,
    /// Earlier offers of this requester.
    pub earlier: &'a [Issued],
    /// As [`Given::seen`].
    pub seen: &'a BTreeMap<String, u64>,
    /// As [`Given::activated`].
    pub activated: &'a BTreeSet<String>,
}

/// Says what a Bid's envelope proves. Never fails: what is wrong with it is a reason for L0.
pub fn appraise(bytes: Option<&[u8]>, expected: &Expected<'_>, now: i64, policy: &AttestPolicy) -> Appraisal {
    let mut findings = Findings::default();
    let (mut kind, mut reused) = (None, false);
    let verdict = (|| {
        let bytes = bytes.ok_or_else(|| Reason::new(Code::EvidenceAbsent, "the bid carries no evidence"))?;
        let envelope = Envelope::open(bytes, expected.node).map_err(|e| of_envelope(&e))?;
        kind = Some(envelope.kind);
        if envelope.sealing != expected.sealing {
            return Err(Reason::new(Code::SealingMismatch, "the bid names another sealing key than its evidence"));
        }
        let issued = issued(&envelope, expected, now, policy)?;
        reused = issued.offer != expected.offer.offer;
        let binding = Binding {
            kind: envelope.kind,
            nonce: issued.nonce,
            requester: expected.requester,
            offer: issued.offer,
            node: expected.node,
            sealing: expected.sealing,
            engine: expected.engine,
            policy: expected.demanded,
        };
        let given =
            Given { envelope: &envelope, binding, now, policy, seen: expected.seen, activated: expected.activated };
        match verifier(envelope.kind) {
            Some(verifier) => verifier.verify(&given, &mut findings),
            None => development(&given),
        }
    })();
    if let Err(reason) = verdict {
        findings.reasons.push(reason);
    }
    let claimed = kind.map_or(Tier::L0, EvidenceKind::tier);
    Appraisal {
        kind,
        claimed,
        tier: if findings.reasons.is_empty() { claimed } else { Tier::L0 },
        vector: findings.vector,
        claims: findings.claims,
        reasons: findings.reasons,
        window: findings.window,
        collateral: findings.collateral,
        activation: findings.activation,
        reused,
        envelope: bytes.map(Envelope::hash),
        policy: policy.hash(),
        at: now,
    }
}

fn of_envelope(error: &EnvelopeError) -> Reason {
    let code = match error {
        EnvelopeError::TooLarge(_) => Code::EnvelopeTooLarge,
        EnvelopeError::Malformed(_) => Code::EnvelopeMalformed,
        EnvelopeError::Version(_) => Code::EnvelopeVersion,
        EnvelopeError::Kind(_) => Code::KindUnknown,
        EnvelopeError::Signature => Code::EnvelopeSignature,
        EnvelopeError::Signer(_) => Code::NodeMismatch,
    };
    Reason::new(code, error.to_string())
}

/// The offer that an envelope was made for: the present one, or an earlier one if the policy lets evidence be used again.
fn issued(envelope: &Envelope, expected: &Expected<'_>, now: i64, policy: &AttestPolicy) -> Result<Issued, Reason> {
    let names = |i: &&Issued| i.offer == envelope.offer && i.nonce == envelope.nonce;
    if names(&&expected.offer) {
        return Ok(expected.offer);
    }
    let Some(earlier) = expected.earlier.iter().find(names) else {
        let detail = format!("made for offer {}, which is not this one", envelope.offer.short());
        return Err(Reason::new(Code::NonceMismatch, detail));
    };
    let (age, most) = (now.saturating_sub(earlier.at), policy.reuse_seconds());
    if most == 0 {
        return Err(Reason::new(Code::NonceMismatch, "made for an earlier offer, and the policy wants new evidence"));
    }
    if age < 0 || age > most {
        return Err(Reason::new(Code::EvidenceStale, format!("made {age} s ago; the policy allows {most} s")));
    }
    Ok(*earlier)
}

/// Development evidence is the binding itself: it shows that the machinery works, and nothing of any hardware.
fn development(given: &Given<'_>) -> Result<(), Reason> {
    if !given.policy.development {
        return Err(Reason::new(Code::Development, "the policy is not marked `development = true`"));
    }
    if given.envelope.evidence != given.binding.digest() {
        return Err(Reason::new(Code::BindingMismatch, "it is not the digest of this binding"));
    }
    Ok(())
}
