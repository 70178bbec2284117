//! Revocation lists (RFC 5280, section 5) against a chain that was found.
//!
//! Only complete lists by the issuer itself are understood: no deltas, no indirect lists, none that are split by reason. A
//! list is believed after its signature is: only then is its number noted, so that nobody else can raise it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::crl::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::ext::pkix::{CrlDistributionPoints, CrlNumber, KeyUsage};

use crate::chain::{Parsed, parts, seconds};
use crate::{Code, Findings, Reason};

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

/// What lists are held against.
pub(crate) struct Lists<'s, 'a> {
    /// DER.
    pub(crate) lists: &'s [&'a [u8]],
    /// Leaf to root.
    pub(crate) path: &'s [Parsed<'a>],
    /// Whether the root is pinned; if not, numbers are not noted.
    pub(crate) pinned: bool,
    /// As [`crate::Chain::revocation`].
    pub(crate) required: bool,
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Highest numbers so far.
    pub(crate) seen: &'s BTreeMap<String, u64>,
}

/// Whether bytes have a revocation list's form.
pub(crate) fn is_list(der: &[u8]) -> bool {
    CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der).is_ok()
}

/// A list that its issuer has signed.
struct Signed {
    list: CertificateList,
    scope: Option<IssuingDistributionPoint>,
    number: Option<u64>,
    key: String,
}

fn invalid(why: impl std::fmt::Display) -> Reason {
    Reason::new(Code::CollateralInvalid, format!("revocation list: {why}"))
}

/// Adds what lists say of a chain to `findings`.
pub(crate) fn check(given: &Lists<'_, '_>, findings: &mut Findings) {
    let mut believed = vec![];
    for der in given.lists {
        match believe(der, given.path) {
            Ok(Some(signed)) => believed.push(signed),
            Ok(None) => {}
            Err(reason) => findings.reasons.push(reason),
        }
    }
    for signed in &believed {
        age(given, signed, findings);
    }
    // Several lists of one issuer: the newest must not be older than what was seen.
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    for signed in &believed {
        if let Some(number) = signed.number {
            let highest = numbers.entry(&signed.key).or_default();
            *highest = number.max(*highest);
        }
    }
    for (key, number) in numbers.into_iter().filter(|_| given.pinned) {
        let before = given.seen.get(key).copied().unwrap_or(0);
        if number < before {
            let detail = format!("revocation list {key} has number {number}; {before} was seen before");
            findings.reason(Code::CollateralRollback, detail);
        }
        let noted = findings.collateral.entry(key.into()).or_default();
        *noted = number.max(*noted).max(before);
    }
    for (depth, certificate) in given.path.iter().enumerate() {
        if believed.iter().any(|signed| revokes(signed, certificate)) {
            let detail = format!("{} is on its issuer's revocation list", certificate.name());
            findings.reason(Code::CertificateRevoked, detail);
        }
        let names_list = certificate.extension(CRL_DISTRIBUTION_POINTS).is_some();
        let is_root = depth + 1 == given.path.len();
        if given.required && names_list && !is_root && !believed.iter().any(|s| covers(s, certificate, depth == 0)) {
            let detail = format!("no revocation list of the issuer of {}", certificate.name());
            findings.reason(Code::CollateralMissing, detail);
        }
    }
    if given.required && believed.is_empty() && !findings.reasons.iter().any(|r| r.code == Code::CollateralMissing) {
        findings.reason(Code::CollateralMissing, "no revocation list of any issuer in the chain");
    }
}

/// Whether the time is between a list's issue and its next update.
fn age(given: &Lists<'_, '_>, signed: &Signed, findings: &mut Findings) {
    let list = &signed.list.tbs_cert_list;
    // A list that names no next update is good at its issue alone.
    let from = seconds(list.this_update);
    let until = list.next_update.map_or(from, seconds);
    findings.window.narrow(from, until);
    if given.now < from || given.now > until {
        let detail = format!("revocation list {} is valid from {from} to {until}; it is {}", signed.key, given.now);
        findings.reason(Code::CollateralStale, detail);
    }
}

/// The list, if its issuer is in the chain.
fn believe(der: &[u8], path: &[Parsed<'_>]) -> Result<Option<Signed>, Reason> {
    let list: CertificateList = CertificateList::from_der(der).map_err(invalid)?;
    let mut issuers =
        path.iter().skip(1).filter(|c| c.fields.tbs_certificate().subject() == &list.tbs_cert_list.issuer).peekable();
    if issuers.peek().is_none() {
        return Ok(None);
    }
    let Some(issuer) = issuers.find(|c| is_signed_by(der, c)) else {
        return Err(invalid(format!("{} has not signed it", list.tbs_cert_list.issuer)));
    };
    if let Some(usage) = issuer.extension(KEY_USAGE)
        && !KeyUsage::from_der(usage).is_ok_and(|usage| usage.crl_sign())
    {
        return Err(invalid(format!("{} must not sign any", issuer.name())));
    }
    let (mut scope, mut number, mut point) = (None, None, vec![]);
    for extension in list.tbs_cert_list.crl_extensions.iter().flatten() {
        let value = extension.extn_value.as_bytes();
        if extension.extn_id == CRL_NUMBER {
            let bytes = CrlNumber::from_der(value).map_err(invalid)?;
            number = Some(saturated(bytes.0.as_bytes()));
        } else if extension.extn_id == ISSUING_DISTRIBUTION_POINT {
            let parsed = IssuingDistributionPoint::from_der(value).map_err(invalid)?;
            if parsed.indirect_crl || parsed.only_contains_attribute_certs || parsed.only_some_reasons.is_some() {
                return Err(invalid("indirect, of attributes, or of some reasons only"));
            }
            point = value.to_vec();
            scope = Some(parsed);
        } else if extension.critical {
            return Err(invalid(format!("extension {} is critical and not known", extension.extn_id)));
        }
    }
    let spki = issuer.fields.tbs_certificate().subject_public_key_info().to_der().map_err(invalid)?;
    let key = Sha256::new().chain_update(spki).chain_update(point).finalize();
    Ok(Some(Signed { list, scope, number, key: format!("crl:{}", hex::encode(&key[..8])) }))
}

/// Big endian; what does not fit is the highest there is.
fn saturated(bytes: &[u8]) -> u64 {
    bytes.iter().try_fold(0_u64, |n, byte| n.checked_mul(256)?.checked_add(u64::from(*byte))).unwrap_or(u64::MAX)
}

fn is_signed_by(der: &[u8], issuer: &Parsed<'_>) -> bool {
    parts(der).is_ok_and(|(body, algorithm, signature)| issuer.has_issued(body, algorithm, signature))
}

fn revokes(signed: &Signed, certificate: &Parsed<'_>) -> bool {
    let (list, fields) = (&signed.list.tbs_cert_list, certificate.fields.tbs_certificate());
    &list.issuer == fields.issuer()
        && list.revoked_certificates.iter().flatten().any(|entry| &entry.serial_number == fields.serial_number())
}

/// Whether a list is the one that a certificate would be on.
fn covers(signed: &Signed, certificate: &Parsed<'_>, is_leaf: bool) -> bool {
    if &signed.list.tbs_cert_list.issuer != certificate.fields.tbs_certificate().issuer() {
        return false;
    }
    let Some(scope) = &signed.scope else { return true };
    if scope.only_contains_user_certs && !is_leaf || scope.only_contains_ca_certs && is_leaf {
        return false;
    }
    let Some(DistributionPointName::FullName(here)) = &scope.distribution_point else {
        return scope.distribution_point.is_none();
    };
    let points = certificate.extension(CRL_DISTRIBUTION_POINTS).and_then(|v| CrlDistributionPoints::from_der(v).ok());
    points.iter().flat_map(|points| &points.0).any(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => names.iter().any(|name| here.contains(name)),
        _ => false,
    })
}
