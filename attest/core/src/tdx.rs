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
//! Not here: event logs, and quotes of service TDs and of TDs that may migrate, which are always refused.

mod chain;
mod collateral;
mod quote;
mod tcb;

use std::time::Duration;

use dcap_qvl::{
    PckCertFlag, QuoteClaims, QuotePolicy, TcbStatus,
    config::{ParsedCert, X509Codec},
    quote::{TDAttributes, TDReport10},
    verify::QuoteVerifier,
    x509::X509CertBackend,
};

use self::{collateral::Collateral, quote::TdQuote};
use crate::{Accept, Code, EvidenceKind, Findings, Given, Reason, Status, Verifier};

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
    let root = collateral.root(accept)?;
    collateral.check()?;
    quote.check(&collateral.pck.leaf)?;
    say(&quote, &collateral, findings);
    binding(&quote.report, report_data, findings);
    measurements(&quote.report, accept, findings);
    configuration(&quote, accept, findings);
    machine(&collateral, accept, findings);
    let Some(at) = dates(&collateral, given.now, findings)? else { return Ok(()) };
    // What this verifier says of debugging is left to `configuration`, and what it says of policies to `levels`.
    let verifier = QuoteVerifier::new(root).allow_debug(true);
    let policy = QuotePolicy::claims_only(at);
    match verifier.verify_with_policy(&given.envelope.evidence, &collateral.whole, at, &policy) {
        Ok(claims) => {
            numbers(&claims, &collateral, given, findings);
            levels(&claims, &quote, &collateral, accept, findings);
            Ok(())
        }
        Err(error) => match tcb::refusal(&quote, &collateral) {
            Some(reason) => {
                findings.vector.hardware = Status::Contraindicated;
                findings.reasons.push(reason);
                Ok(())
            }
            None if attributes(&quote).is_some() => Ok(()),
            None => {
                findings.vector.instance_identity = Status::Contraindicated;
                Err(Reason::new(Code::ChainInvalid, short(&format!("{error:#}"))))
            }
        },
    }
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

/// Every register that the policy names must have one of its values.
fn measurements(report: &TDReport10, accept: &Accept, findings: &mut Findings) {
    if accept.any_measurement {
        return;
    }
    let before = findings.reasons.len();
    if accept.measurements.is_empty() {
        findings.reason(Code::MeasurementUnknown, "the policy names no measurement");
    }
    let mut names: Vec<_> = accept.measurements.iter().map(|m| m.register.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let Some((_, is)) = registers(report).into_iter().find(|(n, _)| *n == name) else {
            findings.reason(Code::MeasurementUnknown, format!("TDX has no register {}", short(name)));
            continue;
        };
        if !accept.measurements.iter().any(|m| m.register == name && m.value == is) {
            findings.reason(Code::MeasurementUnknown, format!("{name} is {}", hex::encode(is)));
        }
    }
    let known = findings.reasons.len() == before;
    findings.vector.executables = if known { Status::Affirming } else { Status::Warning };
}

/// Debugging, and what `dcap-qvl` refuses whatever the policy.
fn configuration(quote: &TdQuote<'_>, accept: &Accept, findings: &mut Findings) {
    findings.vector.configuration = Status::Affirming;
    let [under_debug, ..] = quote.report.td_attributes;
    // Bit 0 is debugging, bits 4 to 6 are profiling.
    if under_debug & 0x71 != 0 && !accept.debug {
        findings.vector.configuration = Status::Contraindicated;
        findings.reason(Code::DebugEnabled, format!("attributes {}", hex::encode(quote.report.td_attributes)));
    }
    if let Some(why) = attributes(quote) {
        findings.vector.configuration = Status::Contraindicated;
        findings.reason(Code::PlatformRefused, why);
    }
}

/// Whether the platform is one that the policy knows.
fn machine(collateral: &Collateral, accept: &Accept, findings: &mut Findings) {
    let ppid = &collateral.platform.ppid;
    if accept.ppids.as_ref().is_some_and(|known| !known.iter().any(|known| known.value == *ppid)) {
        findings.reason(Code::MachineUnknown, format!("PPID {} is not in the policy's `ppids`", hex::encode(ppid)));
    }
}

/// What is never accepted.
fn attributes(quote: &TdQuote<'_>) -> Option<&'static str> {
    let Ok(attributes) = TDAttributes::parse(quote.report.td_attributes) else {
        return Some("attributes are not known");
    };
    let service = quote.later.is_some_and(|r| r.mr_service_td != [0; 48]);
    match () {
        () if attributes.reserved != 0 => Some("reserved attributes are set"),
        () if attributes.sec.migratable => Some("the TD may migrate"),
        () if attributes.sec.servtd_ext || service => Some("a service TD is bound to the TD"),
        () if !attributes.sec.sept_ve_disable => {
            Some("the host can inject exceptions into the TD (SEPT_VE_DISABLE is 0)")
        }
        () => None,
    }
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
fn numbers(claims: &QuoteClaims, collateral: &Collateral, given: &Given<'_>, findings: &mut Findings) {
    let fmspc = hex::encode(collateral.platform.fmspc);
    let issuer = X509CertBackend::from_der(&collateral.pck.leaf.der).ok().and_then(|c| c.pck_ca());
    let issuer = issuer.map_or("pck", |ca| ca.as_id_str());
    let (pck, root) = (claims.platform.pck_crl_num, claims.platform.root_ca_crl_num);
    findings.claim("crl-root", root);
    findings.claim("crl-pck", pck);
    let all = [
        (format!("tdx-tcb:{fmspc}"), collateral.tcb.tcb_evaluation_data_number),
        ("tdx-qe".into(), collateral.qe.tcb_evaluation_data_number),
        ("tdx-crl:root".into(), root),
        (format!("tdx-crl:{issuer}"), pck),
    ];
    for (name, number) in all {
        let number = u64::from(number);
        if let Some(seen) = given.seen.get(&name).filter(|seen| **seen > number) {
            findings.reason(Code::CollateralRollback, format!("{name} is {number}; {seen} was seen before"));
        }
        findings.collateral.insert(name, number);
    }
}

/// Intel's word on the security version, advisories, and properties of the platform.
fn levels(
    claims: &QuoteClaims,
    quote: &TdQuote<'_>,
    collateral: &Collateral,
    accept: &Accept,
    findings: &mut Findings,
) {
    let current = claims.platform.current_tcb_level.as_ref();
    let mut advisories = claims.tcb.advisory_ids.clone();
    advisories.extend(current.iter().flat_map(|l| l.advisory_ids.clone()));
    advisories.sort_unstable();
    advisories.dedup();
    findings.claim("tcb-status", claims.tcb.status);
    findings.claim("tcb-date", &claims.platform.tcb_level.tcb_date);
    findings.claim("advisories", advisories.join(" "));
    findings.vector.hardware = Status::Affirming;
    let mut statuses = vec![claims.tcb.status];
    // A TD that outlived its module: what launched it is in the first; what runs it now must not be worse.
    let better = [claims.tcb.status, TcbStatus::UpToDate];
    statuses.extend(current.map(|l| l.tcb_status).filter(|s| !better.contains(s)));
    for status in statuses.into_iter().filter(|s| !accept.statuses.contains(&s.to_string())) {
        let behind = tcb::behind(quote, collateral);
        let parts = [format!("{status}, level of {}", short(&claims.platform.tcb_level.tcb_date)), behind];
        let parts: Vec<_> = parts.into_iter().filter(|p| !p.is_empty()).chain([tcb::named(&advisories)]).collect();
        findings.vector.hardware = Status::Warning;
        findings.reason(Code::TcbStatus, parts.join("; "));
    }
    for denied in advisories.iter().filter(|a| accept.deny_advisories.iter().any(|d| d.eq_ignore_ascii_case(a))) {
        findings.vector.hardware = Status::Contraindicated;
        findings.reason(Code::AdvisoryDenied, short(denied));
    }
    let pck = &claims.platform.pck;
    let flags = [("dynamic", pck.dynamic_platform), ("cached-keys", pck.cached_keys), ("smt", pck.smt_enabled)];
    for (word, _) in flags.into_iter().filter(|(_, flag)| *flag == PckCertFlag::True) {
        if !accept.platform.iter().any(|p| p == word) {
            if findings.vector.configuration == Status::Affirming {
                findings.vector.configuration = Status::Warning;
            }
            findings.reason(Code::PlatformRefused, format!("`{word}` is not in the policy's `platform`"));
        }
    }
}

/// Other people's text, of a length that can be shown.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}
