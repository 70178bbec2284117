//! AMD SEV-SNP attestation reports.
//!
//! Evidence is the report as the firmware wrote it, 1184 bytes (SEV-SNP ABI, publication 56860, "ATTESTATION_REPORT").
//! Endorsements: first the VCEK or VLEK certificate, DER; then ASK (or ASVK) and ARK, DER, in any order; further DER of the form
//! of a revocation list is a revocation list. The policy pins the ARK.
//!
//! The signature is checked over the bytes as they came, not over fields that were parsed and written again. Reports of
//! version 2, 3 and 5 are read; 5 differs in fields that are not looked at here.
//!
//! The certificate says of which line the processor is, and the report (from version 3 on) which of that line's processors it is.
//! Its firmware's security versions are held against the policy's floor for that one, as reported and as at the guest's launch.

mod kds;

use std::collections::BTreeMap;
use std::fmt;

use ring::signature::ECDSA_P384_SHA384_FIXED;
use serde::Deserialize;
use x509_cert::der::{
    Decode,
    asn1::{Ia5StringRef, ObjectIdentifier},
};

use crate::chain::{self, Parsed};
use crate::{
    Accept, Chain, Code, EvidenceKind, Findings, Floor, Given, Known, Reason, Root, Status, TrustVector, Verifier,
    tee::{accept, judge, measured},
};

pub use kds::Asked;

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
const PRODUCT: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.2");
const CHIP: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.4");
const PROVIDER: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.5");
const BOOT_LOADER: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = amd("1.3.6.1.4.1.3704.1.3.9");

/// A processor with SEV-SNP whose microcode is counted apart from the others'.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 7003 with stacked cache.
    MilanX,
    /// EPYC 9004.
    Genoa,
    /// EPYC 9004 with stacked cache.
    GenoaX,
    /// EPYC 97x4 and 8004 (Siena), of one silicon.
    Bergamo,
    /// EPYC 9005.
    Turin,
    /// EPYC 9005 with dense cores.
    TurinDense,
}

impl Product {
    /// From the line that a certificate names, and the family, model and stepping that a report does.
    fn of(line: &str, cpuid: Option<[u8; 3]>) -> Option<Self> {
        Some(match (line, cpuid) {
            ("Milan", None) => Self::Milan,
            ("Genoa", None) => Self::Genoa,
            ("Turin", None) => Self::Turin,
            ("Milan", Some([0x19, 0x00..=0x0f, 2])) => Self::MilanX,
            ("Milan", Some([0x19, 0x00..=0x0f, _])) => Self::Milan,
            ("Genoa", Some([0x19, 0x10..=0x1f, 2])) => Self::GenoaX,
            ("Genoa", Some([0x19, 0x10..=0x1f, _])) => Self::Genoa,
            ("Genoa", Some([0x19, 0xa0..=0xaf, _])) => Self::Bergamo,
            ("Turin", Some([0x1a, 0x00..=0x0f, _])) => Self::Turin,
            ("Turin", Some([0x1a, 0x10..=0x1f, _])) => Self::TurinDense,
            _ => return None,
        })
    }

    /// Whether its security versions begin with that of the FMC.
    pub(crate) const fn has_fmc(self) -> bool {
        matches!(self, Self::Turin | Self::TurinDense)
    }

    /// Security versions of its firmware.
    fn versions(self) -> Vec<SecurityVersion> {
        let [boot_loader, tee, snp, microcode] = if self.has_fmc() { [1, 2, 3, 7] } else { [0, 1, 6, 7] };
        let mut versions: Vec<SecurityVersion> = vec![
            ("boot loader", boot_loader, BOOT_LOADER, |f| f.boot_loader),
            ("TEE", tee, TEE, |f| f.tee),
            ("SNP", snp, SNP, |f| f.snp),
            ("microcode", microcode, MICROCODE, |f| f.microcode),
        ];
        if self.has_fmc() {
            versions.push(("FMC", 0, FMC, |f| f.fmc.unwrap_or(u8::MAX)));
        }
        versions
    }
}

/// Name, place in a TCB version, place in certificates, and what a floor says.
type SecurityVersion = (&'static str, usize, ObjectIdentifier, fn(&Floor) -> u8);

impl fmt::Display for Product {
    /// As policies write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Milan => "milan",
            Self::MilanX => "milan-x",
            Self::Genoa => "genoa",
            Self::GenoaX => "genoa-x",
            Self::Bergamo => "bergamo",
            Self::Turin => "turin",
            Self::TurinDense => "turin-dense",
        })
    }
}

/// Of machines: they run simultaneous threads.
const SMT: &str = "smt";
/// Of machines: firmware has not found their memory free of aliases.
pub(crate) const ALIASES_UNCHECKED: &str = "aliases-unchecked";
/// Properties that a policy may accept.
pub(crate) const PLATFORM: [&str; 2] = [SMT, ALIASES_UNCHECKED];

/// Bits of a guest's policy.
const SMT_ALLOWED: u64 = 1 << 16;
const ALWAYS_SET: u64 = 1 << 17;
const MIGRATION_AGENT: u64 = 1 << 18;
const DEBUG: u64 = 1 << 19;
/// Bits 26 to 63 mean nothing yet.
const RESERVED: u64 = !0 << 26;

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

/// What endorsements of a report are worth before any policy is known: reasons, window and numbers, with these roots pinned, and
/// revocation lists wanted. A root that came along is none: anybody can certify a key that reports show.
///
/// # Errors
/// What makes the rest meaningless, such as a certificate of another chip or of other firmware than has signed.
pub fn stapled(report: &[u8], endorsements: &[Vec<u8>], roots: &[Root], now: i64) -> Result<Findings, Reason> {
    let report = Report::parse(report)?;
    let missing = || Reason::new(Code::ChainInvalid, "no VCEK or VLEK certificate is at hand");
    let (leaf, rest) = endorsements.split_first().ok_or_else(missing)?;
    let (issuers, lists) = chain::split(rest.iter().map(Vec::as_slice));
    let chain = Chain { leaf, issuers, lists, roots, purpose: None, revocation: true };
    let mut findings = Findings::default();
    let path = chain.check(now, &BTreeMap::new(), &mut findings)?;
    let signer = path.first().ok_or_else(missing)?;
    if !signer.has_signed(&ECDSA_P384_SHA384_FIXED, &report.0[..SIGNED], &report.signature()) {
        let detail = format!("the report is not signed by {}", signer.name());
        return Err(Reason::new(Code::SignatureInvalid, detail));
    }
    identity(&report, signer, &mut findings);
    Ok(findings)
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
        self.policy() & DEBUG != 0
    }

    fn has_smt(&self) -> bool {
        self.0[0x40] & 1 == 1
    }

    /// ALIAS_CHECK_COMPLETE of PLATFORM_INFO: since the machine was reset, memory was searched for addresses that lead to one place,
    /// and none are there (CVE-2024-21944, AMD-SB-3015). Firmware that does not look leaves it 0.
    fn is_free_of_aliases(&self) -> bool {
        self.0[0x40] >> 5 & 1 == 1
    }

    /// Family, model and stepping; reports of version 2 do not say.
    fn cpuid(&self) -> Option<[u8; 3]> {
        (self.number(0) >= 3).then(|| self.bytes(0x188))
    }

    fn vmpl(&self) -> u32 {
        self.number(0x30)
    }

    fn chip(&self) -> &[u8] {
        &self.0[0x1a0..0x1e0]
    }

    fn id_key(&self) -> &[u8] {
        &self.0[0xe0..0x110]
    }

    /// Digest of the key that has signed the identity key, if one has.
    fn author_key(&self) -> Option<&[u8]> {
        (self.number(0x48) & 1 == 1).then(|| &self.0[0x110..0x140])
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
        findings.claim("author-key-digest", self.author_key().map_or_else(String::new, hex::encode));
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
    firmware(&report, signer, accept, findings);
    machine(&report, signer, accept, findings);
    guest(&report, accept, findings);
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
    measured(accept, &[("measurement".into(), &report.0[0x90..0xc0])], findings);
    Ok(())
}

/// A certificate's extension that is text.
fn text<'a>(signer: &'a Parsed<'_>, id: ObjectIdentifier) -> Option<&'a str> {
    Ia5StringRef::from_der(signer.extension(id)?).ok().map(|text| text.as_str())
}

/// Whether the certificate is of the chip that the report is of.
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
}

/// Whether the processor is one that the policy names, the certificate is of the firmware that the report is of, and that firmware
/// is new enough and stays so.
fn firmware(report: &Report<'_>, signer: &Parsed<'_>, accept: &Accept, findings: &mut Findings) {
    let Some(line) = text(signer, PRODUCT) else {
        return findings.reason(Code::IdentityMismatch, "the certificate does not say of which product it is");
    };
    // With a stepping where the key is the chip's own: "Milan-B0".
    let line = line.split('-').next().unwrap_or_default();
    let Some(product) = Product::of(line, report.cpuid()) else {
        let cpuid = report.cpuid().map_or_else(String::new, |cpuid| format!(", CPUID {}", hex::encode(cpuid)));
        return findings.reason(Code::ProductRefused, format!("{}{cpuid} is not a product that is known", short(line)));
    };
    findings.claim("product", product);
    let versions = product.versions();
    let (reported, launched) = (report.bytes::<8>(0x180), report.bytes::<8>(0x1f0));
    let (committed, current) = (report.bytes::<8>(0x1e0), report.bytes::<8>(0x38));
    for (name, at, id, _) in &versions {
        let (reported, committed, current) = (reported[*at], committed[*at], current[*at]);
        let certified = signer.extension(*id).and_then(|value| u8::from_der(value).ok());
        if certified != Some(reported) {
            let certified = certified.map_or("none".into(), |n| n.to_string());
            let detail = format!("the report's {name} has version {reported}; its certificate says {certified}");
            findings.reason(Code::IdentityMismatch, detail);
        }
        if committed < reported || current < committed {
            let detail = format!(
                "{name} has version {reported} as reported, {committed} as committed and {current} now: it may be rolled back \
                 below what it reports"
            );
            findings.reason(Code::TcbTooOld, detail);
        }
    }
    let Some(floor) = accept.products.get(&product) else {
        return findings.reason(Code::ProductRefused, format!("{product} is not in the policy's `products`"));
    };
    for (name, at, _, least) in versions {
        let least = least(floor);
        for (tcb, when) in [(reported, ""), (launched, " at the guest's launch")] {
            if tcb[at] < least {
                let detail = format!("{product}: {name} has version {}{when}; the policy wants {least}", tcb[at]);
                findings.reason(Code::TcbTooOld, detail);
            }
        }
    }
}

/// Whether the machine is one that the policy knows.
fn machine(report: &Report<'_>, signer: &Parsed<'_>, accept: &Accept, findings: &mut Findings) {
    if signer.extension(PROVIDER).is_some() {
        let provider = text(signer, PROVIDER).unwrap_or_default();
        findings.claim("vlek-provider", short(provider));
        if !accept.vlek_providers.iter().any(|known| known == provider) {
            let detail = format!("signed with a VLEK of `{}`, which is not in `vlek_providers`", short(provider));
            findings.reason(Code::MachineUnknown, detail);
        }
    }
    let Some(chips) = &accept.chips else { return };
    let is_chip = |known: &Known| {
        let (id, zeros) = report.chip().split_at(known.value.len().min(64));
        id == known.value && zeros.iter().all(|byte| *byte == 0)
    };
    if !chips.iter().any(is_chip) {
        let detail = format!("chip {} is not in the policy's `chips`", hex::encode(report.chip()));
        findings.reason(Code::MachineUnknown, detail);
    }
}

/// Whether the guest was launched as the policy wants, and by whom.
fn guest(report: &Report<'_>, accept: &Accept, findings: &mut Findings) {
    let policy = report.policy();
    let mut refused = |why: &str| findings.reason(Code::GuestPolicyRefused, format!("guest policy {policy:#x}: {why}"));
    if policy & ALWAYS_SET == 0 {
        refused("bit 17, which is always one, is not");
    }
    if policy & MIGRATION_AGENT != 0 {
        refused("a migration agent may take the guest elsewhere (bit 18)");
    }
    if policy & RESERVED != 0 {
        refused("bits from 26 on are set, and what they allow is not known");
    }
    let accepts = |property: &str| accept.platform.iter().any(|word| word == property);
    if (policy & SMT_ALLOWED != 0 || report.has_smt()) && !accepts(SMT) {
        let what = if report.has_smt() { "the machine has it on" } else { "the guest's policy allows it (bit 16)" };
        findings.reason(Code::PlatformRefused, format!("`smt` is not in the policy's `platform`; {what}"));
    }
    if !report.is_free_of_aliases() && !accepts(ALIASES_UNCHECKED) {
        let detail = format!(
            "firmware has not found memory free of aliases (ALIAS_CHECK_COMPLETE is 0, AMD-SB-3015): update it; \
             `{ALIASES_UNCHECKED}` is not in the policy's `platform`"
        );
        findings.reason(Code::PlatformRefused, detail);
    }
    let lists = [
        ("id_keys", &accept.id_keys, Some(report.id_key())),
        ("author_keys", &accept.author_keys, report.author_key()),
    ];
    for (name, list, key) in lists {
        let Some(list) = list else { continue };
        if !key.is_some_and(|key| list.iter().any(|known| known.value == key)) {
            let key = key.filter(|key| key.iter().any(|byte| *byte != 0));
            let key = key.map_or("no key".into(), |key| format!("key {}", hex::encode(key)));
            findings.reason(Code::LauncherUnknown, format!("{key} has signed, which is not in the policy's `{name}`"));
        }
    }
}

/// Other people's text, of a length that can be shown.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
