//! Certificates and revocation lists: who signed whom, until when.

use der::{Decode, Header, Reader as _, SliceReader, asn1::ObjectIdentifier};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use x509_cert::{Certificate, crl::CertificateList, ext::pkix::CrlNumber, name::Name, time::Time};

use super::short;
use crate::{Code, Findings, Reason};

/// Certificates in one chain: a leaf, Intel's intermediate and the root, and two more.
const CHAIN_MAX: usize = 5;

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");

/// Something that is valid for a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dated {
    /// For people.
    pub(super) what: String,
    /// What it means if now is outside.
    pub(super) code: Code,
    /// Seconds since 1970, included.
    pub(super) from: i64,
    /// Seconds since 1970, included.
    pub(super) until: i64,
}

/// A certificate, and the bytes that its issuer signed.
pub(super) struct Cert {
    pub(super) der: Vec<u8>,
    pub(super) parsed: Certificate,
}

impl Cert {
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    fn point(&self) -> &[u8] {
        self.parsed.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes()
    }

    fn subject(&self) -> &Name {
        self.parsed.tbs_certificate().subject()
    }

    fn issuer(&self) -> &Name {
        self.parsed.tbs_certificate().issuer()
    }

    pub(super) fn name(&self) -> String {
        format!("certificate {}", short(&self.subject().to_string()))
    }

    /// Whether this key has made a signature of 64 bytes, as quotes and collateral have them.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point()).verify(message, signature).is_ok()
    }

    /// Whether this key has signed a certificate or a revocation list.
    fn issued(&self, der: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.point());
        to_be_signed(der).is_ok_and(|message| key.verify(message, signature).is_ok())
    }
}

/// The first part of a certificate or a revocation list, as it came.
fn to_be_signed(der: &[u8]) -> Result<&[u8], der::Error> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    reader.tlv_bytes()
}

fn seconds(time: &Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// A leaf, and who vouches for it, up to a root.
pub(super) struct Chain {
    what: &'static str,
    pub(super) leaf: Cert,
    /// The last is the root.
    pub(super) above: Vec<Cert>,
}

impl Chain {
    /// Reads PEM: the leaf first, the root last.
    pub(super) fn parse(what: &'static str, text: &[u8]) -> Result<Self, Reason> {
        let bad = |why: &str| Reason::new(Code::ChainInvalid, format!("{what}: {}", short(why)));
        let blocks = pem::parse_many(text).map_err(|e| bad(&e.to_string()))?;
        if !(2..=CHAIN_MAX).contains(&blocks.len()) {
            return Err(bad(&format!("{} certificates; 2 to {CHAIN_MAX} are a chain", blocks.len())));
        }
        let mut certs = vec![];
        for block in blocks {
            if block.tag() != "CERTIFICATE" {
                return Err(bad("not only certificates"));
            }
            let der = block.into_contents();
            let parsed = Certificate::from_der(&der).map_err(|e| bad(&e.to_string()))?;
            certs.push(Cert { der, parsed });
        }
        let leaf = certs.remove(0);
        Ok(Self { what, leaf, above: certs })
    }

    /// All of it.
    pub(super) fn certs(&self) -> impl Iterator<Item = &Cert> {
        std::iter::once(&self.leaf).chain(&self.above)
    }

    /// Whether two have the same certificates in the same order.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.certs().map(|c| &c.der).eq(other.certs().map(|c| &c.der))
    }

    /// The root that it ends in.
    pub(super) fn root(&self) -> Result<&Cert, Reason> {
        let root = self.above.last().filter(|r| r.subject() == r.issuer());
        root.ok_or_else(|| Reason::new(Code::ChainInvalid, format!("{}: it does not end in a root", self.what)))
    }

    /// Each is signed by the next.
    pub(super) fn check(&self) -> Result<(), Reason> {
        for (cert, issuer) in self.certs().zip(&self.above) {
            if cert.issuer() != issuer.subject() || !issuer.issued(&cert.der, cert.parsed.signature().raw_bytes()) {
                let detail = format!("{}: {} is not signed by the next", self.what, cert.name());
                return Err(Reason::new(Code::ChainInvalid, detail));
            }
        }
        Ok(())
    }

    /// When its certificates are valid.
    pub(super) fn dates(&self) -> impl Iterator<Item = Dated> {
        self.certs().map(|cert| {
            let validity = cert.parsed.tbs_certificate().validity();
            let (from, until) = (seconds(&validity.not_before), seconds(&validity.not_after));
            Dated { what: cert.name(), code: Code::CertificateExpired, from, until }
        })
    }
}

/// A revocation list.
pub(super) struct Crl {
    what: &'static str,
    der: Vec<u8>,
    parsed: CertificateList,
}

impl Crl {
    pub(super) fn parse(what: &'static str, der: &[u8]) -> Result<Self, Reason> {
        let parsed = CertificateList::from_der(der)
            .map_err(|e| Reason::new(Code::CollateralInvalid, format!("{what}: {}", short(&e.to_string()))))?;
        Ok(Self { what, der: der.to_vec(), parsed })
    }

    /// It is signed by `issuer`. Those of `certs` that are on it are findings, each once.
    pub(super) fn check<'a>(
        &self,
        issuer: &Cert,
        certs: impl Iterator<Item = &'a Cert>,
        findings: &mut Findings,
    ) -> Result<(), Reason> {
        let list = &self.parsed.tbs_cert_list;
        if &list.issuer != issuer.subject() || !issuer.issued(&self.der, self.parsed.signature.raw_bytes()) {
            let detail = format!("{}: not signed by {}", self.what, issuer.name());
            return Err(Reason::new(Code::CollateralInvalid, detail));
        }
        for cert in certs.filter(|c| c.issuer() == &list.issuer) {
            let serial = cert.parsed.tbs_certificate().serial_number();
            let found = list.revoked_certificates.iter().flatten().find(|r| &r.serial_number == serial);
            let detail = found.map(|found| format!("{} was revoked on {}", cert.name(), found.revocation_date));
            if let Some(detail) = detail.filter(|d| !findings.reasons.iter().any(|r| &r.detail == d)) {
                findings.reason(Code::CertificateRevoked, detail);
            }
        }
        Ok(())
    }

    /// Its number.
    pub(super) fn number(&self) -> Result<u64, Reason> {
        let bad = || Reason::new(Code::CollateralInvalid, format!("{}: it has no number", self.what));
        let mut all = self.parsed.tbs_cert_list.crl_extensions.iter().flatten().filter(|e| e.extn_id == CRL_NUMBER);
        let number = CrlNumber::from_der(all.next().ok_or_else(bad)?.extn_value.as_bytes()).map_err(|_| bad())?;
        let bytes = number.0.as_bytes();
        // What does not fit is the highest there is.
        let number = bytes.iter().try_fold(0_u64, |n, byte| n.checked_mul(256)?.checked_add(u64::from(*byte)));
        Ok(number.unwrap_or(u64::MAX))
    }

    /// Valid up to, and not at, its next update.
    pub(super) fn dates(&self) -> Result<Dated, Reason> {
        let list = &self.parsed.tbs_cert_list;
        let next = list.next_update.as_ref().map(seconds);
        let next =
            next.ok_or_else(|| Reason::new(Code::CollateralInvalid, format!("{}: it has no next update", self.what)))?;
        let from = seconds(&list.this_update);
        Ok(Dated { what: self.what.into(), code: Code::CollateralStale, from, until: next.saturating_sub(1) })
    }
}
