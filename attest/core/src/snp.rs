//! AMD SEV-SNP attestation reports.
//!
//! Evidence is the report as the firmware wrote it, 1184 bytes (SEV-SNP ABI, publication 56860, "ATTESTATION_REPORT").
//! Endorsements: first the VCEK or VLEK certificate, DER; then ASK (or ASVK) and ARK, DER, in any order; further DER of the form
//! of a revocation list is a revocation list. The policy pins the ARK.
//!
//! The signature is checked over the bytes as they came, not over fields that were parsed and written again. Reports of
//! version 2, 3 and 5 are read; 5 differs in fields that are not looked at here.

use ring::signature::ECDSA_P384_SHA384_FIXED;
use x509_cert::der::{Decode, asn1::ObjectIdentifier};

use crate::chain::{self, Parsed};
use crate::{
    Accept, Chain, Code, EvidenceKind, Findings, Given, Reason, Status, TrustVector, Verifier,
    tee::{accept, judge, measured},
};

/// Bytes of a report.
pub const REPORT: usize = 0x4a0;
/// Bytes of it that are signed.
pub const SIGNED: usize = 0x2a0;
/// Bytes in each of the signature's two numbers, little endian, of which a P-384 number fills the first 48.
const NUMBER: usize = 72;

/// An extension of AMD's ("Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification", 57230).
const fn amd(id: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(id)
}
const CHIP: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.4");
const PROVIDER: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.5");
const BOOT_LOADER: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.9");

/// The names of [`Accept::tcb`]'s numbers.
const COMPONENTS: [&str; 4] = ["boot loader", "TEE", "SNP", "microcode"];

/// The verifier of [`EvidenceKind::SevSnp`].
#[derive(Clone, Copy, Debug)]
pub struct SevSnp;

impl Verifier for SevSnp {
    fn verify(&self, given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
        verify(&given.binding.digest(), given, findings)
    }
}

/// As [`SevSnp`], with other report data than the binding's: for evidence that was made for something else.
///
/// # Errors
/// As [`Verifier::verify`].
pub fn verify(report_data: &[u8; 64], given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
    let mut spoken_of = TrustVector::default();
    let verdict = accept(given, EvidenceKind::SevSnp)
        .and_then(|accept| look(report_data, given, accept, findings, &mut spoken_of));
    judge(findings, spoken_of, &verdict);
    verdict
}

/// A report whose form is right.
struct Report<'a>(&'a [u8; REPORT]);

impl<'a> Report<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let malformed = |why: String| Reason::new(Code::EvidenceMalformed, why);
        let all = bytes
            .try_into()
            .map_err(|_| malformed(format!("an SNP report has {REPORT} bytes; this one {}", bytes.len())))?;
        let report = Self(all);
        let version = report.number(0);
        if ![2, 3, 5].contains(&version) {
            return Err(malformed(format!("SNP report version {version} is not known")));
        }
        if report.number(0x34) != 1 {
            return Err(malformed("the signature's algorithm is not ECDSA P-384 with SHA-384".into()));
        }
        let (numbers, rest) = report.0[SIGNED..].split_at(2 * NUMBER);
        let unused = [&numbers[48..NUMBER], &numbers[NUMBER + 48..], rest];
        if unused.iter().any(|part| part.iter().any(|byte| *byte != 0)) {
            return Err(malformed("bytes beside the signature are not zero".into()));
        }
        Ok(report)
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[at + n])
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn policy(&self) -> u64 {
        u64::from_le_bytes(self.bytes(0x08))
    }

    fn is_debug(&self) -> bool {
        self.policy() >> 19 & 1 == 1
    }

    fn vmpl(&self) -> u32 {
        self.number(0x30)
    }

    fn reported_tcb(&self) -> [u8; 8] {
        self.bytes(0x180)
    }

    fn chip(&self) -> &[u8] {
        &self.0[0x1a0..0x1e0]
    }

    /// Whether a VLEK has signed it; `Err` holds what else.
    fn is_by_vlek(&self) -> Result<bool, u32> {
        match self.number(0x48) >> 2 & 7 {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(other),
        }
    }

    /// Both numbers, big endian.
    fn signature(&self) -> Vec<u8> {
        let number = |at: usize| self.0[at..at + 48].iter().rev().copied();
        number(SIGNED).chain(number(SIGNED + NUMBER)).collect()
    }

    fn claim(&self, findings: &mut Findings) {
        let hex = |from: usize, to: usize| hex::encode(&self.0[from..to]);
        findings.claim("report-version", self.number(0));
        findings.claim("guest-svn", self.number(0x04));
        findings.claim("guest-policy", format!("{:#x}", self.policy()));
        findings.claim("family-id", hex(0x10, 0x20));
        findings.claim("image-id", hex(0x20, 0x30));
        findings.claim("vmpl", self.vmpl());
        findings.claim("current-tcb", hex(0x38, 0x40));
        findings.claim("platform-info", format!("{:#x}", u64::from_le_bytes(self.bytes(0x40))));
        findings.claim("measurement", hex(0x90, 0xc0));
        findings.claim("host-data", hex(0xc0, 0xe0));
        findings.claim("id-key-digest", hex(0xe0, 0x110));
        findings.claim("reported-tcb", hex(0x180, 0x188));
        findings.claim("chip-id", hex(0x1a0, 0x1e0));
        findings.claim("committed-tcb", hex(0x1e0, 0x1e8));
        findings.claim("launch-tcb", hex(0x1f0, 0x1f8));
    }
}

fn look(
    report_data: &[u8; 64],
    given: &Given<'_>,
    accept: &Accept,
    findings: &mut Findings,
    spoken_of: &mut TrustVector,
) -> Result<(), Reason> {
    let report = Report::parse(&given.envelope.evidence)?;
    report.claim(findings);
    let mut endorsements = given.envelope.endorsements.iter().map(|e| e.as_slice());
    let missing = || Reason::new(Code::ChainInvalid, "no VCEK or VLEK certificate came with the report");
    let leaf = endorsements.next().ok_or_else(missing)?;
    let (issuers, lists) = chain::split(endorsements);
    let chain = Chain { leaf, issuers, lists, roots: &accept.roots, purpose: None, revocation: accept.revocation };
    let path = chain.check(given.now, given.seen, findings)?;
    let signer = path.first().ok_or_else(missing)?;
    if !signer.has_signed(&ECDSA_P384_SHA384_FIXED, &report.0[..SIGNED], &report.signature()) {
        let detail = format!("the report is not signed by {}", signer.name());
        return Err(Reason::new(Code::SignatureInvalid, detail));
    }
    *spoken_of = TrustVector {
        instance_identity: Status::Affirming,
        configuration: if report.is_debug() { Status::Warning } else { Status::Affirming },
        executables: if accept.any_measurement { Status::Warning } else { Status::Affirming },
        hardware: Status::Affirming,
    };
    identity(&report, signer, findings);
    if report.0[0x50..0x90] != *report_data {
        findings.reason(Code::BindingMismatch, "the report data is not the digest of this binding");
    }
    if report.is_debug() && !accept.debug {
        findings.reason(Code::DebugEnabled, "the guest policy allows debugging (bit 19)");
    }
    if report.vmpl() > accept.vmpl {
        let detail = format!("asked for from VMPL {}; the policy allows up to {}", report.vmpl(), accept.vmpl);
        findings.reason(Code::VmplTooHigh, detail);
    }
    tcb(&report, signer, accept, findings);
    measured(accept, &[("measurement".into(), &report.0[0x90..0xc0])], findings);
    Ok(())
}

/// Where the numbers of [`COMPONENTS`] are in a TCB version. Turin has a fifth, the FMC, before the others; its certificates
/// say so.
fn layout(signer: &Parsed<'_>) -> [(usize, ObjectIdentifier); 4] {
    let at = if signer.extension(FMC).is_some() { [1, 2, 3, 7] } else { [0, 1, 6, 7] };
    [(at[0], BOOT_LOADER), (at[1], TEE), (at[2], SNP), (at[3], MICROCODE)]
}

/// Whether the certificate is of the chip, and of the firmware, that the report is of.
fn identity(report: &Report<'_>, signer: &Parsed<'_>, findings: &mut Findings) {
    let mut mismatch = |detail: String| findings.reason(Code::IdentityMismatch, detail);
    match (report.is_by_vlek(), signer.extension(CHIP), signer.extension(PROVIDER)) {
        (Ok(false), Some(chip), None) => {
            // Some certificates wrap the id in an OCTET STRING. Turin's ids have 8 bytes, and zeros follow in the report.
            let chip = match chip {
                [0x04, 64, id @ ..] if id.len() == 64 => id,
                [0x04, 8, id @ ..] if id.len() == 8 => id,
                id => id,
            };
            let (id, zeros) = report.chip().split_at(if chip.len() == 8 { 8 } else { 64 });
            if id != chip || zeros.iter().any(|byte| *byte != 0) {
                mismatch("the report's chip id is not that of its certificate".into());
            }
        }
        (Ok(true), None, Some(_)) => {}
        (Ok(by_vlek), ..) => {
            let key = if by_vlek { "VLEK" } else { "VCEK" };
            mismatch(format!("the report says that a {key} has signed it; the certificate is not of one"));
        }
        (Err(other), ..) => mismatch(format!("the report says that a key of kind {other} has signed it")),
    }
    let reported = report.reported_tcb();
    let mut parts: Vec<_> = COMPONENTS.into_iter().zip(layout(signer)).collect();
    if signer.extension(FMC).is_some() {
        parts.push(("FMC", (0, FMC)));
    }
    for (name, (at, id)) in parts {
        let certified = signer.extension(id).and_then(|value| u8::from_der(value).ok());
        if certified != Some(reported[at]) {
            let certified = certified.map_or("none".into(), |n| n.to_string());
            mismatch(format!("the report's {name} has version {}; its certificate says {certified}", reported[at]));
        }
    }
}

/// Whether the reported TCB is new enough.
fn tcb(report: &Report<'_>, signer: &Parsed<'_>, accept: &Accept, findings: &mut Findings) {
    let reported = report.reported_tcb();
    for ((name, (at, _)), least) in COMPONENTS.into_iter().zip(layout(signer)).zip(accept.tcb) {
        if reported[at] < least {
            let detail = format!("{name} has version {}; the policy wants {least}", reported[at]);
            findings.reason(Code::TcbTooOld, detail);
        }
    }
}
