//! Intel TDX: a quote, and the collateral that says what it is worth.
//!
//! `evidence` is a quote of version 4 or 5, signed with ECDSA over P-256; zeros may follow it. `endorsements[0]` is the
//! collateral, a JSON object with these members, hexadecimal where it says so:
//!
//! | member | what |
//! |---|---|
//! | `tcb_info`, `tcb_info_signature` (hex), `tcb_info_issuer_chain` | Intel's TCB info of the platform as text, exactly as signed; 64 bytes; PEM |
//! | `qe_identity`, `qe_identity_signature` (hex), `qe_identity_issuer_chain` | the same of the quoting enclave |
//! | `root_ca_crl` (hex) | revocation list of the root, DER |
//! | `pck_crl` (hex), `pck_crl_issuer_chain` | revocation list of the PCK certificates' issuer, DER; PEM |
//! | `pck_certificate_chain` | PEM; only needed if the quote does not have it (certification data other than type 5) |
//!
//! Other endorsements are not read. Every chain is ordered, and ends in one root, which the policy pins.
//!
//! Intel's rules are checked by the crate `dcap-qvl`. It gives its reasons in prose, so what can be told apart is checked
//! here first, for the sake of the codes; nothing is accepted unless both agree. Quote and collateral are bounded before
//! either sees them. Stale collateral is judged as of the nearest time at which it was valid, and refused: so an archive
//! shows whether age is all that is wrong.
//!
//! What is known to be wrong does not hide the rest: under a root that is not pinned, with a revoked certificate, or with
//! attributes that are never accepted, the TCB is still judged. Only what makes the rest meaningless ends it.
//!
//! Not here: event logs. Always refused: service TDs, TDs that may migrate, and quotes whose quoting enclave adds another number
//! of bytes than 32 to what it reports on (Intel's adds 32, and `dcap-qvl` takes no other).

mod chain;
mod collateral;
mod pcs;
mod quote;
mod tcb;

use std::time::Duration;

use dcap_qvl::{
    QuotePolicy, TcbStatus,
    config::{ParsedCert, X509Codec},
    quote::{TDAttributes, TDReport10},
    verify::QuoteVerifier,
    x509::X509CertBackend,
};

use self::{
    collateral::Collateral,
    quote::{QE_AUTH, TdQuote},
    tcb::Standing,
};
use crate::{Accept, Code, EvidenceKind, Findings, Given, Reason, Status, Verifier, tee::measured};

pub use self::pcs::{Answers, Platform};

/// Characters of other people's text in one reason.
const TEXT_MAX: usize = 300;

/// The verifier of [`EvidenceKind::Tdx`].
#[derive(Clone, Copy, Debug)]
pub struct Tdx;

impl Verifier for Tdx {
    fn verify(&self, given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
        verify(given, &given.binding.digest(), findings)
    }
}

/// As [`Tdx`], for evidence that was bound to `report_data` and not to a [`crate::Binding`].
///
/// # Errors
/// What makes the rest meaningless.
pub fn verify(given: &Given<'_>, report_data: &[u8; 64], findings: &mut Findings) -> Result<(), Reason> {
    let accept = given.policy.accept(EvidenceKind::Tdx);
    let accept = accept.ok_or_else(|| Reason::new(Code::KindNotAccepted, "the policy has no section `tdx`"))?;
    let quote = TdQuote::parse(&given.envelope.evidence)?;
    let Some(stapled) = given.envelope.endorsements.first().filter(|e| !e.is_empty()) else {
        return Err(Reason::new(Code::CollateralMissing, "no collateral is stapled to the quote"));
    };
    let collateral = Collateral::parse(stapled, &quote)?;
    let (root, pinned) = collateral.root(accept, findings)?;
    collateral.check(findings)?;
    evaluation(&collateral, accept, findings);
    quote.check(&collateral.pck.leaf)?;
    say(&quote, &collateral, findings);
    binding(&quote.report, report_data, findings);
    measurements(&quote.report, accept, findings);
    configuration(&quote, &collateral, accept, findings);
    machine(&collateral, accept, findings);
    let too_low = tcb::refusals(&quote, &collateral);
    let is_too_low = !too_low.is_empty();
    findings.reasons.extend(too_low);
    if is_too_low {
        findings.vector.hardware = Status::Contraindicated;
    }
    let Some(at) = dates(&collateral, given.now, findings)? else { return Ok(()) };
    // What this verifier says of debugging is left to `configuration`, and what it says of policies to `levels`.
    let verifier = QuoteVerifier::new(root).allow_debug(true);
    let verdict =
        verifier.verify_with_policy(&given.envelope.evidence, &collateral.whole, at, &QuotePolicy::claims_only(at));
    let standing = match &verdict {
        Ok(claims) => Some(Standing::of(claims)),
        Err(_) if !is_too_low => tcb::standing(&quote, &collateral),
        Err(_) => None,
    };
    let refused = verdict.err().map(|error| format!("{error:#}"));
    // Whoever is revoked may have signed anything; and before that, `dcap-qvl` has not seen all certificates.
    let noted = pinned && !refused.as_ref().is_some_and(|error| error.contains("CertRevoked"));
    let unexplained = refused.filter(|error| !explained(error, &quote, is_too_low, findings));
    if let Some(standing) = standing {
        levels(&standing, &quote, &collateral, accept, findings);
    }
    match unexplained {
        None => numbers(&collateral, given, noted, findings),
        Some(error) => {
            findings.vector.instance_identity = Status::Contraindicated;
            Err(Reason::new(Code::ChainInvalid, short(&error)))
        }
    }
}

/// What endorsements of a quote are worth before any policy is known: reasons, window and numbers, their own root taken for pinned.
/// Of levels of the TCB nothing is said.
///
/// # Errors
/// What makes the rest meaningless.
pub fn stapled(quote: &[u8], endorsements: &[Vec<u8>], now: i64) -> Result<Findings, Reason> {
    let quote = TdQuote::parse(quote)?;
    let missing = || Reason::new(Code::CollateralMissing, "no collateral is at hand");
    let collateral = Collateral::parse(endorsements.first().ok_or_else(missing)?, &quote)?;
    let mut findings = Findings::default();
    collateral.root(&Accept::default(), &mut Findings::default())?;
    collateral.check(&mut findings)?;
    quote.check(&collateral.pck.leaf)?;
    dates(&collateral, now, &mut findings)?;
    findings.collateral = counted(&collateral)?.into_iter().collect();
    Ok(findings)
}

/// Refusals of `dcap-qvl` for levels of the TCB. Those before them are of certificates, signatures and identities.
const OF_LEVELS: [&str; 4] = [
    "No matching TCB level found",
    "TDX module TCB level check",
    "is below minimum required",
    "TCB status is invalid: Revoked",
];
/// Those for a TD's attributes, which come last.
const OF_ATTRIBUTES: [&str; 6] = [
    "Reserved bits in TD attributes are set",
    "TD migration is enabled",
    "SERVTD_EXT is enabled",
    "SEPT_VE_DISABLE is not enabled",
    "Invalid MR service TD",
    "Failed to parse TD attributes",
];

/// Whether a refusal of `dcap-qvl` is of what was said here already. Anything that is not known for that is not: the worst
/// that other words of a later version can do is to add a reason.
fn explained(error: &str, quote: &TdQuote<'_>, too_low: bool, findings: &Findings) -> bool {
    let is_of = |all: &[&str]| all.iter().any(|text| error.contains(text));
    let revoked = || findings.reasons.iter().any(|r| r.code == Code::CertificateRevoked);
    too_low && is_of(&OF_LEVELS)
        || !attributes(quote).is_empty() && is_of(&OF_ATTRIBUTES)
        || quote.qe_auth() != QE_AUTH && is_of(&["Invalid QE auth data length"])
        || revoked() && is_of(&["CertRevoked"])
}

/// What the quote says.
fn say(quote: &TdQuote<'_>, collateral: &Collateral, findings: &mut Findings) {
    let report = &quote.report;
    for (name, value) in registers(report) {
        findings.claim(name, hex::encode(value));
    }
    findings.claim("attributes", hex::encode(report.td_attributes));
    findings.claim("tee-tcb-svn", hex::encode(report.tee_tcb_svn));
    if let Some(later) = quote.later {
        findings.claim("tee-tcb-svn-current", hex::encode(later.tee_tcb_svn2));
    }
    findings.claim("fmspc", hex::encode(collateral.platform.fmspc));
    findings.claim("ppid", hex::encode(&collateral.platform.ppid));
    findings.claim("tcb-evaluation", collateral.tcb.tcb_evaluation_data_number);
    findings.claim("qe-evaluation", collateral.qe.tcb_evaluation_data_number);
}

fn registers(report: &TDReport10) -> [(&'static str, &[u8; 48]); 5] {
    [
        ("mrtd", &report.mr_td),
        ("rtmr0", &report.rt_mr0),
        ("rtmr1", &report.rt_mr1),
        ("rtmr2", &report.rt_mr2),
        ("rtmr3", &report.rt_mr3),
    ]
}

fn binding(report: &TDReport10, wanted: &[u8; 64], findings: &mut Findings) {
    let same = &report.report_data == wanted;
    findings.vector.instance_identity = if same { Status::Affirming } else { Status::Contraindicated };
    if !same {
        let detail = "the report data are not the digest of this offer, node, sealing key, engine and policy";
        findings.reason(Code::BindingMismatch, detail);
    }
}

/// Every register that the policy names must have one of its values, or all of one image theirs.
fn measurements(report: &TDReport10, accept: &Accept, findings: &mut Findings) {
    if accept.any_measurement {
        return;
    }
    let before = findings.reasons.len();
    let all = registers(report).map(|(name, value)| (name.to_string(), &value[..]));
    measured(accept, &all, findings);
    let known = findings.reasons.len() == before;
    findings.vector.executables = if known { Status::Affirming } else { Status::Warning };
}

/// Debugging, what `dcap-qvl` refuses whatever the policy, and properties of the platform.
fn configuration(quote: &TdQuote<'_>, collateral: &Collateral, accept: &Accept, findings: &mut Findings) {
    findings.vector.configuration = Status::Affirming;
    let platform = &collateral.platform;
    let flags =
        [("dynamic", platform.dynamic_platform), ("cached-keys", platform.cached_keys), ("smt", platform.smt_enabled)];
    for (word, _) in flags.into_iter().filter(|(_, flag)| *flag == Some(true)) {
        if !accept.platform.iter().any(|p| p == word) {
            findings.vector.configuration = Status::Warning;
            findings.reason(Code::PlatformRefused, format!("`{word}` is not in the policy's `platform`"));
        }
    }
    let [under_debug, ..] = quote.report.td_attributes;
    // Bit 0 is debugging, bits 4 to 6 are profiling.
    if under_debug & 0x71 != 0 && !accept.debug {
        findings.vector.configuration = Status::Contraindicated;
        findings.reason(Code::DebugEnabled, format!("attributes {}", hex::encode(quote.report.td_attributes)));
    }
    for why in attributes(quote) {
        findings.vector.configuration = Status::Contraindicated;
        findings.reason(Code::TdRefused, why);
    }
    if quote.qe_auth() != QE_AUTH {
        let found = quote.qe_auth();
        let why = format!("the quoting enclave adds {found} bytes to what it reports on; Intel's adds {QE_AUTH}");
        findings.reason(Code::TdRefused, why);
    }
}

/// Whether the platform is one that the policy knows.
fn machine(collateral: &Collateral, accept: &Accept, findings: &mut Findings) {
    let ppid = &collateral.platform.ppid;
    if accept.ppids.as_ref().is_some_and(|known| !known.iter().any(|known| known.value == *ppid)) {
        findings.reason(Code::MachineUnknown, format!("PPID {} is not in the policy's `ppids`", hex::encode(ppid)));
    }
}

/// Whether Intel has judged late enough for the policy. For up to a year after the next an evaluation is signed anew, so that it is in
/// date and knows nothing of what was found since.
fn evaluation(collateral: &Collateral, accept: &Accept, findings: &mut Findings) {
    let Some(least) = accept.evaluation else { return };
    let numbers = [
        ("TCB info", collateral.tcb.tcb_evaluation_data_number),
        ("QE identity", collateral.qe.tcb_evaluation_data_number),
    ];
    for (what, number) in numbers.into_iter().filter(|(_, number)| *number < least) {
        findings.reason(Code::CollateralStale, format!("{what}: evaluation {number}; the policy wants {least}"));
    }
}

/// What is never accepted.
fn attributes(quote: &TdQuote<'_>) -> Vec<&'static str> {
    let Ok(attributes) = TDAttributes::parse(quote.report.td_attributes) else {
        return vec!["attributes are not known"];
    };
    let service = quote.later.is_some_and(|r| r.mr_service_td != [0; 48]);
    let all = [
        (attributes.reserved != 0, "reserved attributes are set"),
        (attributes.sec.migratable, "the TD may migrate (MIGRATABLE is 1): start it without migration"),
        (
            attributes.sec.servtd_ext || service,
            "a service TD is bound to the TD, whose code could change it: start it without one",
        ),
        (
            !attributes.sec.sept_ve_disable,
            "the host can inject exceptions into the TD (SEPT_VE_DISABLE is 0): start it with that attribute",
        ),
    ];
    all.into_iter().filter(|(refused, _)| *refused).map(|(_, why)| why).collect()
}

/// When all of it is valid, and the time to judge as of: now if that is inside. `None` if there is no such time.
fn dates(collateral: &Collateral, now: i64, findings: &mut Findings) -> Result<Option<u64>, Reason> {
    let date = |seconds: i64| {
        let since = u64::try_from(seconds).ok().map(Duration::from_secs);
        let date = since.and_then(|s| der::DateTime::from_unix_duration(s).ok());
        date.map_or_else(|| format!("{seconds} s since 1970"), |d| d.to_string())
    };
    for dated in collateral.dates()? {
        findings.window.narrow(dated.from, dated.until);
        if now < dated.from || now > dated.until {
            let (from, until) = (date(dated.from), date(dated.until));
            findings.reason(dated.code, format!("{}: from {from} to {until}; now is {}", dated.what, date(now)));
        }
    }
    let window = findings.window;
    Ok((window.from <= window.until).then(|| u64::try_from(now.clamp(window.from, window.until)).unwrap_or(0)))
}

/// Numbers that must not fall.
fn counted(collateral: &Collateral) -> Result<[(String, u64); 4], Reason> {
    let fmspc = hex::encode(collateral.platform.fmspc);
    let issuer = X509CertBackend::from_der(&collateral.pck.leaf.der).ok().and_then(|c| c.pck_ca());
    let issuer = issuer.map_or("pck", |ca| ca.as_id_str());
    let (root, pck) = collateral.list_numbers()?;
    Ok([
        (format!("tdx-tcb:{fmspc}"), u64::from(collateral.tcb.tcb_evaluation_data_number)),
        ("tdx-qe".into(), u64::from(collateral.qe.tcb_evaluation_data_number)),
        ("tdx-crl:root".into(), root),
        (format!("tdx-crl:{issuer}"), pck),
    ])
}

/// Whether none of them has fallen. They are noted from nobody whose root is not pinned.
fn numbers(collateral: &Collateral, given: &Given<'_>, noted: bool, findings: &mut Findings) -> Result<(), Reason> {
    let all = counted(collateral)?;
    let [.., (_, root), (_, pck)] = &all;
    findings.claim("crl-root", root);
    findings.claim("crl-pck", pck);
    for (name, number) in all.into_iter().filter(|_| noted) {
        if let Some(seen) = given.seen.get(&name).filter(|seen| **seen > number) {
            findings.reason(Code::CollateralRollback, format!("{name} is {number}; {seen} was seen before"));
        }
        findings.collateral.insert(name, number);
    }
    Ok(())
}

/// Intel's word on the security version, and advisories.
fn levels(standing: &Standing, quote: &TdQuote<'_>, collateral: &Collateral, accept: &Accept, findings: &mut Findings) {
    let Standing { status, current, date, advisories } = standing;
    findings.claim("tcb-status", status);
    findings.claim("tcb-date", date);
    findings.claim("advisories", advisories.join(" "));
    findings.vector.hardware = Status::Affirming;
    let mut statuses = vec![*status];
    // A TD that outlived its module: what launched it is in the first; what runs it now must not be worse.
    statuses.extend(current.filter(|s| s != status && *s != TcbStatus::UpToDate));
    for status in statuses.into_iter().filter(|s| !accept.statuses.contains(&s.to_string())) {
        let behind = tcb::behind(quote, collateral);
        let parts = [format!("{status}, level of {}", short(date)), behind];
        let parts: Vec<_> = parts.into_iter().filter(|p| !p.is_empty()).chain([tcb::named(advisories)]).collect();
        findings.vector.hardware = Status::Warning;
        findings.reason(Code::TcbStatus, parts.join("; "));
    }
    for denied in advisories.iter().filter(|a| accept.deny_advisories.iter().any(|d| d.eq_ignore_ascii_case(a))) {
        findings.vector.hardware = Status::Contraindicated;
        findings.reason(Code::AdvisoryDenied, short(denied));
    }
}

/// Other people's text, of a length that can be shown.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}
