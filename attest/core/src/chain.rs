//! Certificate chains: from the key that signs evidence to a root that the policy pins.
//!
//! A worker staples the whole chain, its root too, in any order; a policy names roots by SHA-256. First a path is sought whose
//! signatures and constraints hold (rustls-webpki). It knows nothing of certificate policies and refuses the extension where it is
//! critical, as in the intermediates of STMicroelectronics and Intel; here any policy will do, so that one is read and then kept
//! from it (see `policies_flag`); what constrains policies stays refused. Then the validity of each certificate in it, root included, is held
//! against the time, and against the revocation lists that came along. Without a path nothing that the
//! leaf's key has signed means anything, and that is an error; what is wrong with a path that is there is added to the
//! findings, and the rest can still be looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
    alg_id,
};
use sha2::{Digest, Sha256};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, ring as algorithms,
};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::CertificatePolicies;

use crate::{Code, Findings, Reason, Root, crl};

/// Certificates in one chain beside the leaf, as stapled.
const ISSUERS_MAX: usize = 16;
/// Certificates of one subject: a key and its cross-certificate. It bounds how many paths there can be.
const SAME_SUBJECT_MAX: usize = 2;
/// Characters of one reason.
const DETAIL_MAX: usize = 600;
/// Signatures over SHA-1, which anybody with some money can find a collision of: RSA and ECDSA.
const SHA1: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), ObjectIdentifier::new_unwrap("1.2.840.10045.4.1")];
/// Bytes of one certificate.
const CERTIFICATE_MAX: usize = 16 << 10;

const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
/// Qualifiers of policies: where its text is, and a notice for people (RFC 5280, section 4.2.1.4). Neither constrains anything.
const QUALIFIERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.2.1"), ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.2.2")];
/// Extensions that the path builder understands: key usage, alternative names, basic constraints, name constraints, revocation
/// lists, extended key usage.
const UNDERSTOOD: [ObjectIdentifier; 6] = [
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.30"),
    ObjectIdentifier::new_unwrap("2.5.29.31"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];

/// RSASSA-PSS with SHA-384 as in [`alg_id::RSA_PSS_SHA384`], but with the default trailer field spelled out, as AMD's keys
/// write it: `OID 1.2.840.113549.1.1.10, SEQUENCE { [0] sha384, [1] mgf1 sha384, [2] 48, [3] 1 }`.
const PSS_SHA384_WITH_TRAILER: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x39, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09,
    0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86,
    0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
    0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30, 0xa3, 0x03, 0x02, 0x01, 0x01,
]);

#[derive(Debug)]
struct PssWithTrailer;

impl SignatureVerificationAlgorithm for PssWithTrailer {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        PSS_SHA384_WITH_TRAILER
    }
}

/// What certificates and revocation lists may be signed with.
pub(crate) const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    &PssWithTrailer,
];

/// What a worker staples for one key, and what is wanted of it.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    /// Certificate of the key that signs the evidence, DER.
    pub leaf: &'a [u8],
    /// Intermediates and root, DER, in any order.
    pub issuers: Vec<&'a [u8]>,
    /// Revocation lists, DER, in any order. A list of an issuer that is not in the chain is passed over.
    pub lists: Vec<&'a [u8]>,
    /// Where a chain may end.
    pub roots: &'a [Root],
    /// Extended key usages, the bytes of their object identifiers without tag and length. A certificate of the chain that
    /// names any must name one of these. `None`: whatever.
    pub purpose: Option<&'static [&'static [u8]]>,
    /// Every certificate that says where its revocation list is must come with that list, and there must be one.
    pub revocation: bool,
}

/// A certificate that was parsed.
#[derive(Clone, Debug)]
pub struct Parsed<'a> {
    /// As it came.
    pub der: CertificateDer<'a>,
    /// Its fields.
    pub fields: Certificate,
    /// SHA-256 of its DER.
    pub sha256: [u8; 32],
    /// As the path builder is shown it: one flag off, if it has one that stands in the way.
    shown: CertificateDer<'a>,
}

impl<'a> Parsed<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Result<Self, Reason> {
        let invalid = |why: &str| Reason::new(Code::ChainInvalid, format!("a certificate cannot be parsed: {why}"));
        if der.len() > CERTIFICATE_MAX {
            return Err(invalid("it is too long"));
        }
        let fields = Certificate::from_der(der).map_err(|e| invalid(&e.to_string()))?;
        let mut shown = CertificateDer::from(der);
        if let Some(at) = policies_flag(der, &fields) {
            let mut other = der.to_vec();
            other.get_mut(at).into_iter().for_each(|flag| *flag = 0);
            shown = other.into();
        }
        Ok(Self { der: CertificateDer::from(der), fields, sha256: Sha256::digest(der).into(), shown })
    }

    /// The bytes that its issuer has signed, as they came and as they are shown, if these differ.
    fn signed_and_shown(&self) -> Option<(&[u8], &[u8])> {
        let differs = self.der != self.shown;
        let (signed, shown) = (parts(&self.der).ok()?.0, parts(&self.shown).ok()?.0);
        differs.then_some((signed, shown))
    }

    /// What of it no path can have here: an algorithm, or critical extensions.
    fn unsupported(&self) -> Option<String> {
        let algorithm = parts(&self.der).ok()?.1;
        let mut all = vec![];
        if !ALGORITHMS.iter().any(|a| a.signature_alg_id().as_ref() == algorithm) {
            let oid = self.fields.signature_algorithm().oid;
            let name = if SHA1.contains(&oid) { "SHA-1" } else { "an algorithm that is not accepted" };
            all.push(format!("is signed with {name} ({oid})"));
        }
        let critical = self.fields.tbs_certificate().extensions().into_iter().flatten().filter(|e| e.critical);
        for extension in critical.filter(|e| !UNDERSTOOD.contains(&e.extn_id)) {
            if extension.extn_id != CERTIFICATE_POLICIES || self.der == self.shown {
                all.push(format!("has the critical extension {}", extension.extn_id));
            }
        }
        (!all.is_empty()).then(|| format!("{} {}", self.name(), all.join(" and ")))
    }

    /// Whether its key has signed this with one of [`ALGORITHMS`], whose identifier is given in DER.
    pub(crate) fn has_issued(&self, body: &[u8], algorithm: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = EndEntityCert::try_from(&self.shown) else { return false };
        let named = ALGORITHMS.iter().filter(|a| a.signature_alg_id().as_ref() == algorithm);
        named.into_iter().any(|a| key.verify_signature(*a, body, signature).is_ok())
    }

    /// Its subject, for people.
    pub fn name(&self) -> String {
        let name: String = self.fields.tbs_certificate().subject().to_string().chars().take(160).collect();
        if name.is_empty() { format!("certificate {}", hex::encode(&self.sha256[..8])) } else { name }
    }

    /// When it is valid, seconds since 1970, both ends included.
    pub fn validity(&self) -> (i64, i64) {
        let validity = self.fields.tbs_certificate().validity();
        (seconds(validity.not_before), seconds(validity.not_after))
    }

    /// Value of an extension; `None` if it is not there, or more than once.
    pub fn extension(&self, id: ObjectIdentifier) -> Option<&[u8]> {
        let mut all = self.fields.tbs_certificate().extensions()?.iter().filter(|e| e.extn_id == id);
        all.next().filter(|_| all.next().is_none()).map(|e| e.extn_value.as_bytes())
    }

    /// Whether its key has signed a message.
    pub fn has_signed(&self, algorithm: &'static dyn VerificationAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let key = self.fields.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    }

    fn is_self_issued(&self) -> bool {
        self.fields.tbs_certificate().subject() == self.fields.tbs_certificate().issuer()
    }
}

pub(crate) fn seconds(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// Splits endorsements into certificates and revocation lists. What is neither counts as a certificate, and fails there.
pub fn split<'a>(endorsements: impl IntoIterator<Item = &'a [u8]>) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
    endorsements.into_iter().partition(|der| !crl::is_list(der))
}

/// What is signed, the algorithm's identifier without tag and length, and the signature: of a certificate or a list.
pub(crate) fn parts(der: &[u8]) -> der::Result<(&[u8], &[u8], &[u8])> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|r| Ok((r.tlv_bytes()?, AnyRef::decode(r)?.value(), BitStringRef::decode(r)?.raw_bytes())))
}

/// Where a certificate says that its policies are critical, if it does and they are understood: identifiers, each once, with
/// qualifiers that are for people. The processing of RFC 5280, section 6.1, with any policy acceptable and none explicitly
/// required then lets every such path through, whatever the policies are.
fn policies_flag(der: &[u8], fields: &Certificate) -> Option<usize> {
    let mut all = fields.tbs_certificate().extensions()?.iter().filter(|e| e.extn_id == CERTIFICATE_POLICIES);
    let extension = all.next().filter(|e| e.critical && all.next().is_none())?;
    let policies = CertificatePolicies::from_der(extension.extn_value.as_bytes()).ok()?.0;
    let mut named: Vec<_> = policies.iter().map(|p| p.policy_identifier).collect();
    named.sort_unstable();
    named.dedup();
    let mut qualifiers = policies.iter().flat_map(|p| p.policy_qualifiers.iter().flatten());
    if named.is_empty()
        || named.len() != policies.len()
        || !qualifiers.all(|q| QUALIFIERS.contains(&q.policy_qualifier_id))
    {
        return None;
    }
    // Its object identifier, TRUE, and its value. Elsewhere the same bytes have no business to be.
    let head = [0x06, 0x03, 0x55, 0x1d, 0x20, 0x01, 0x01, 0xff];
    let needle = [&head[..], &extension.extn_value.to_der().ok()?].concat();
    let mut found = der.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle);
    let (at, _) = found.next().filter(|_| found.next().is_none())?;
    Some(at + head.len() - 1)
}

/// An algorithm for a path builder that is shown other bytes than were signed: what was signed is verified.
#[derive(Debug)]
struct AsSigned<'s> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    pairs: &'s [(&'s [u8], &'s [u8])],
}

impl SignatureVerificationAlgorithm for AsSigned<'_> {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let pair = self.pairs.iter().find(|(_, shown)| *shown == message);
        self.algorithm.verify_signature(key, pair.map_or(message, |(signed, _)| signed), signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// One of these purposes, or any.
struct Purposes(Option<&'static [&'static [u8]]>);

impl ExtendedKeyUsageValidator for Purposes {
    fn validate(&self, named: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let Some([first, rest @ ..]) = self.0 else { return Ok(()) };
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let is_one = |id| named.iter().any(|n| *n == KeyPurposeId::new(id));
        if named.is_empty() || is_one(first) || rest.iter().any(|id| is_one(id)) {
            return Ok(());
        }
        let present = named.iter().map(KeyPurposeId::to_decoded_oid).collect();
        let required = KeyUsage::required_if_present(first);
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}

/// Where to look for a path, and when.
struct Search<'s, 'a> {
    leaf: &'s Parsed<'a>,
    issuers: &'s [Parsed<'a>],
    purpose: Option<&'static [&'static [u8]]>,
}

impl<'a> Search<'_, 'a> {
    /// The path from the leaf to one of these anchors, which are positions in `issuers`.
    fn path(&self, ends: &[usize], now: i64) -> Result<Vec<Parsed<'a>>, Error> {
        let leaf = EndEntityCert::try_from(&self.leaf.shown)?;
        let anchors: Vec<TrustAnchor<'_>> = ends
            .iter()
            .map(|end| webpki::anchor_from_trusted_cert(&self.issuers[*end].shown))
            .collect::<Result<_, _>>()?;
        let between: Vec<CertificateDer<'_>> = self.issuers.iter().map(|c| c.shown.clone()).collect();
        let all = std::iter::once(self.leaf).chain(self.issuers);
        let pairs: Vec<_> = all.filter_map(Parsed::signed_and_shown).collect();
        let algorithms: Vec<_> = ALGORITHMS.iter().map(|a| AsSigned { algorithm: *a, pairs: &pairs }).collect();
        let algorithms: Vec<_> = algorithms.iter().map(|a| a as &dyn SignatureVerificationAlgorithm).collect();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
        let found = leaf.verify_for_usage(&algorithms, &anchors, &between, at, Purposes(self.purpose), None, None)?;
        let mut path = vec![self.leaf.clone()];
        for certificate in found.intermediate_certificates() {
            path.extend(self.issuers.iter().find(|c| c.shown == certificate.der()).cloned());
        }
        let end = anchors.iter().zip(ends).find(|(anchor, _)| std::ptr::eq(*anchor, found.anchor()));
        path.extend(end.map(|(_, end)| self.issuers[*end].clone()));
        Ok(path)
    }
}

fn is_of_time(error: &Error) -> bool {
    matches!(error, Error::CertExpired { .. } | Error::CertNotValidYet { .. })
}

/// What is not known to be wrong, only to be more than is accepted here.
fn is_unsupported(error: &Error) -> bool {
    matches!(
        error,
        Error::UnsupportedCriticalExtension
            | Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
            | Error::UnsupportedNameType
            | Error::UnsupportedCertVersion
    )
}

impl<'a> Chain<'a> {
    /// Checks all of it at `now`, seconds since 1970. `seen` holds the highest numbers of revocation lists so far.
    ///
    /// Returns the chain from leaf to root, at least two certificates. Adds to `findings`: `RootUnpinned`,
    /// `CertificateExpired`, `CertificateRevoked`, `CollateralMissing`, `CollateralInvalid`, `CollateralStale`,
    /// `CollateralRollback`, the window, and numbers of lists.
    ///
    /// # Errors
    /// `ChainInvalid` if there is no chain, `ChainUnsupported` if one has what is not accepted here, or `CertificateExpired` if its certificates were never valid together.
    pub fn check(
        &self,
        now: i64,
        seen: &BTreeMap<String, u64>,
        findings: &mut Findings,
    ) -> Result<Vec<Parsed<'a>>, Reason> {
        let (path, pinned) = self.path(now)?;
        if let (false, Some(root)) = (pinned, path.last()) {
            let detail = format!("the chain ends in {}, SHA-256 {}", root.name(), hex::encode(root.sha256));
            findings.reason(Code::RootUnpinned, detail);
        }
        for certificate in &path {
            let (from, until) = certificate.validity();
            findings.window.narrow(from, until);
            if now < from {
                let detail = format!("{} is not valid for another {} s", certificate.name(), from.saturating_sub(now));
                findings.reason(Code::CertificateExpired, detail);
            } else if now > until {
                let detail = format!("{} expired {} s ago", certificate.name(), now.saturating_sub(until));
                findings.reason(Code::CertificateExpired, detail);
            }
        }
        crl::check(
            &crl::Lists { lists: &self.lists, path: &path, pinned, required: self.revocation, now, seen },
            findings,
        );
        Ok(path)
    }

    /// A path, and whether its root is pinned. Time does not decide whether there is one: a path that holds at another time is
    /// better to know than that the first certificate is too old.
    fn path(&self, now: i64) -> Result<(Vec<Parsed<'a>>, bool), Reason> {
        let invalid = |why: String| Reason::new(Code::ChainInvalid, why);
        if self.issuers.len() > ISSUERS_MAX {
            return Err(invalid(format!("more than {ISSUERS_MAX} certificates")));
        }
        let leaf = Parsed::new(self.leaf)?;
        let issuers = self.issuers.iter().map(|der| Parsed::new(der)).collect::<Result<Vec<_>, _>>()?;
        for one in &issuers {
            let subject = one.fields.tbs_certificate().subject();
            if issuers.iter().filter(|c| c.fields.tbs_certificate().subject() == subject).count() > SAME_SUBJECT_MAX {
                return Err(invalid(format!("more than {SAME_SUBJECT_MAX} certificates of {}", one.name())));
            }
        }
        let is_pinned = |c: &Parsed<'_>| self.roots.iter().any(|root| root.sha256 == c.sha256);
        let pinned: Vec<usize> = (0..issuers.len()).filter(|n| is_pinned(&issuers[*n])).collect();
        let others: Vec<usize> =
            (0..issuers.len()).filter(|n| !is_pinned(&issuers[*n]) && issuers[*n].is_self_issued()).collect();
        if pinned.is_empty() && others.is_empty() {
            return Err(invalid("no root came with it".into()));
        }
        let search = Search { leaf: &leaf, issuers: &issuers, purpose: self.purpose };
        let mut errors = vec![];
        for (ends, is_pinned) in [(&pinned, true), (&others, false)].into_iter().filter(|(ends, _)| !ends.is_empty()) {
            for at in [now, leaf.validity().0] {
                match search.path(ends, at) {
                    Ok(path) => return Ok((path, is_pinned)),
                    Err(error) => errors.push(error),
                }
            }
        }
        let error = errors.iter().find(|e| !is_of_time(e)).or(errors.first());
        let mut detail = error.map_or_else(String::new, |e| format!("{}: {e}", leaf.name()));
        let code = match error {
            Some(error) if is_of_time(error) => Code::CertificateExpired,
            Some(error) if is_unsupported(error) => {
                let all = std::iter::once(&leaf).chain(&issuers);
                let all: Vec<_> = all.filter_map(Parsed::unsupported).collect();
                if !all.is_empty() {
                    detail = all.join("; ");
                }
                Code::ChainUnsupported
            }
            _ => Code::ChainInvalid,
        };
        Err(Reason::new(code, detail.chars().take(DETAIL_MAX).collect::<String>()))
    }
}
