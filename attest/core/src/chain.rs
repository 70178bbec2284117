//! Certificate chains: from the key that signs evidence to a root that the policy pins.
//!
//! A worker staples the whole chain, its root too, in any order; a policy names roots by SHA-256. First a path is sought whose
//! signatures and constraints hold (rustls-webpki). Then the validity of each certificate in it, root included, is held
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
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, ring as algorithms};
use x509_cert::Certificate;
use x509_cert::der::{Decode, asn1::ObjectIdentifier};

use crate::{Code, Findings, Reason, Root, crl};

/// Certificates in one chain beside the leaf, as stapled.
const ISSUERS_MAX: usize = 16;
/// Certificates of one subject: a key and its cross-certificate. It bounds how many paths there can be.
const SAME_SUBJECT_MAX: usize = 2;
/// Bytes of one certificate.
const CERTIFICATE_MAX: usize = 16 << 10;

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
    /// An extended key usage, the bytes of its object identifier without tag and length. A certificate of the chain that
    /// names any must name it. `None`: whatever.
    pub purpose: Option<&'static [u8]>,
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
}

impl<'a> Parsed<'a> {
    fn new(der: &'a [u8]) -> Result<Self, Reason> {
        let invalid = |why: &str| Reason::new(Code::ChainInvalid, format!("a certificate cannot be parsed: {why}"));
        if der.len() > CERTIFICATE_MAX {
            return Err(invalid("it is too long"));
        }
        let fields = Certificate::from_der(der).map_err(|e| invalid(&e.to_string()))?;
        Ok(Self { der: CertificateDer::from(der), fields, sha256: Sha256::digest(der).into() })
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

/// Any purpose.
struct Whatever;

impl ExtendedKeyUsageValidator for Whatever {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

/// Where to look for a path, and when.
struct Search<'s, 'a> {
    leaf: &'s Parsed<'a>,
    issuers: &'s [Parsed<'a>],
    purpose: Option<&'static [u8]>,
}

impl<'a> Search<'_, 'a> {
    /// The path from the leaf to one of these anchors, which are positions in `issuers`.
    fn path(&self, ends: &[usize], now: i64) -> Result<Vec<Parsed<'a>>, Error> {
        let leaf = EndEntityCert::try_from(&self.leaf.der)?;
        let anchors: Vec<TrustAnchor<'_>> = ends
            .iter()
            .map(|end| webpki::anchor_from_trusted_cert(&self.issuers[*end].der))
            .collect::<Result<_, _>>()?;
        let between: Vec<CertificateDer<'_>> = self.issuers.iter().map(|c| c.der.clone()).collect();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
        let found = match self.purpose {
            None => leaf.verify_for_usage(ALGORITHMS, &anchors, &between, at, Whatever, None, None)?,
            Some(oid) => {
                let usage = KeyUsage::required_if_present(oid);
                leaf.verify_for_usage(ALGORITHMS, &anchors, &between, at, usage, None, None)?
            }
        };
        let mut path = vec![self.leaf.clone()];
        for certificate in found.intermediate_certificates() {
            path.extend(self.issuers.iter().find(|c| c.der == certificate.der()).cloned());
        }
        let end = anchors.iter().zip(ends).find(|(anchor, _)| std::ptr::eq(*anchor, found.anchor()));
        path.extend(end.map(|(_, end)| self.issuers[*end].clone()));
        Ok(path)
    }
}

fn is_of_time(error: &Error) -> bool {
    matches!(error, Error::CertExpired { .. } | Error::CertNotValidYet { .. })
}

impl<'a> Chain<'a> {
    /// Checks all of it at `now`, seconds since 1970. `seen` holds the highest numbers of revocation lists so far.
    ///
    /// Returns the chain from leaf to root, at least two certificates. Adds to `findings`: `RootUnpinned`,
    /// `CertificateExpired`, `CertificateRevoked`, `CollateralMissing`, `CollateralInvalid`, `CollateralStale`,
    /// `CollateralRollback`, the window, and numbers of lists.
    ///
    /// # Errors
    /// `ChainInvalid` if there is no chain, or `CertificateExpired` if its certificates were never valid together.
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
        let detail = error.map_or_else(String::new, |e| format!("{}: {e}", leaf.name()));
        let code = if error.is_some_and(is_of_time) { Code::CertificateExpired } else { Code::ChainInvalid };
        Err(Reason::new(code, detail))
    }
}
