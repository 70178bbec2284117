//! The quote's bytes. Each is signed, or is a type or a length that is compared, or is a zero after the end.

use dcap_qvl::{
    INTEL_QE_VENDOR_ID,
    quote::{AuthData, AuthDataV4, Quote, TDReport10, TDReport15},
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::{chain::Cert, short};
use crate::{Code, Reason};

/// Bytes of the largest quote; those of today's machines have about 5,000.
const QUOTE_MAX: usize = 32 << 10;
const SGX: u32 = 0;
const TDX: u32 = 0x81;
/// ECDSA over P-256.
const KEY_TYPE: u16 = 2;
/// Certification data that hold the quoting enclave's report.
const QE_REPORT: u16 = 6;
/// Certification data that hold a chain of certificates, as PEM.
const PCK_CHAIN: u16 = 5;
/// Certification data that say which certificate to fetch, and their bytes: the platform's identity in clear, or encrypted with
/// RSA of 2048 or 3072 bits; then 20 bytes of security versions.
const PPID: [(u16, usize); 3] = [(1, 16 + 20), (2, 256 + 20), (3, 384 + 20)];
/// Bytes that Intel's quoting enclave adds to what its report is about.
pub(super) const QE_AUTH: usize = 32;

/// A TDX quote of version 4 or 5, of the right shape. Nothing says yet that it is true.
pub(super) struct TdQuote<'a> {
    signed: &'a [u8],
    /// What all versions have.
    pub(super) report: TDReport10,
    /// What TDX 1.5 adds.
    pub(super) later: Option<TDReport15>,
    auth: AuthDataV4,
}

fn malformed(why: impl Into<String>) -> Reason {
    Reason::new(Code::EvidenceMalformed, why)
}

impl<'a> TdQuote<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        if bytes.len() > QUOTE_MAX {
            return Err(malformed(format!("a quote of {} bytes; at most {QUOTE_MAX} are read", bytes.len())));
        }
        let &[v0, v1, _, _, t0, t1, t2, t3, ..] = bytes else {
            return Err(malformed("too short for a quote's header"));
        };
        let (version, tee) = (u16::from_le_bytes([v0, v1]), u32::from_le_bytes([t0, t1, t2, t3]));
        match (version, tee) {
            (3..=5, SGX) => return Err(malformed("an SGX quote; a TDX quote is wanted")),
            (4 | 5, TDX) => {}
            _ => return Err(malformed(format!("quote version {version} of TEE type {tee:#x}; a TDX quote is wanted"))),
        }
        let quote = Quote::parse(bytes).map_err(|e| malformed(short(&format!("{e:#}"))))?;
        if quote.header.attestation_key_type != KEY_TYPE {
            return Err(malformed(format!("attestation key type {}", quote.header.attestation_key_type)));
        }
        if quote.header.qe_vendor_id != INTEL_QE_VENDOR_ID {
            return Err(malformed("the quoting enclave is not Intel's"));
        }
        let later = quote.report.as_td15().copied();
        let Some(report) = quote.report.as_td10().copied() else {
            return Err(malformed("the body of an SGX quote; a TDX quote is wanted"));
        };
        let (signed, rest) =
            bytes.split_at_checked(quote.signed_length()).ok_or_else(|| malformed("too short for what is signed"))?;
        let AuthData::V4(auth) = quote.auth_data else {
            return Err(malformed("the signature's data are of another version"));
        };
        lengths(&auth, rest)?;
        Ok(Self { signed, report, later, auth })
    }

    /// The PEM chain inside, or which type of certification data there is instead.
    pub(super) fn chain(&self) -> Result<&[u8], u16> {
        let data = &self.auth.qe_report_data.certification_data;
        if data.cert_type == PCK_CHAIN { Ok(&data.body.data) } else { Err(data.cert_type) }
    }

    /// Security version of the quoting enclave.
    pub(super) fn qe_svn(&self) -> u16 {
        match self.auth.qe_report_data.qe_report.get(258..260) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => 0,
        }
    }

    /// Bytes that the quoting enclave has added.
    pub(super) fn qe_auth(&self) -> usize {
        self.auth.qe_report_data.qe_auth_data.data.len()
    }

    /// The platform's key has signed the quoting enclave's report, the report names the attestation key, and that key has
    /// signed the quote.
    pub(super) fn check(&self, platform: &Cert) -> Result<(), Reason> {
        let invalid = |why: &str| Err(Reason::new(Code::SignatureInvalid, why));
        let qe = &self.auth.qe_report_data;
        if !platform.signed(&qe.qe_report, &qe.qe_report_signature) {
            return invalid("the quoting enclave's report is not signed by the platform's key");
        }
        let mut named = Sha256::new();
        named.update(self.auth.ecdsa_attestation_key);
        named.update(&qe.qe_auth_data.data);
        if qe.qe_report.get(320..352) != Some(named.finalize().as_slice()) {
            return invalid("the quoting enclave's report names another attestation key");
        }
        let mut point = vec![4];
        point.extend_from_slice(&self.auth.ecdsa_attestation_key);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        if key.verify(self.signed, &self.auth.ecdsa_signature).is_err() {
            return invalid("the quote is not signed by its attestation key");
        }
        Ok(())
    }
}

/// Every part is as long as it says, and after the end there is nothing but zeros (a kernel's buffer may be longer).
fn lengths(auth: &AuthDataV4, rest: &[u8]) -> Result<(), Reason> {
    let qe = &auth.qe_report_data;
    let inner = qe.qe_report.len()
        + qe.qe_report_signature.len()
        + 2
        + qe.qe_auth_data.data.len()
        + 6
        + qe.certification_data.body.data.len();
    if auth.certification_data.cert_type != QE_REPORT {
        return Err(malformed(format!("certification data of type {}", auth.certification_data.cert_type)));
    }
    if auth.certification_data.body.data.len() != inner {
        return Err(malformed("the quoting enclave's part has another length than it says"));
    }
    let outer = auth.ecdsa_signature.len() + auth.ecdsa_attestation_key.len() + 6 + inner;
    let Some((&stated, rest)) = rest.split_first_chunk::<4>() else {
        return Err(malformed("it has no signature"));
    };
    let (kind, length) = (qe.certification_data.cert_type, qe.certification_data.body.data.len());
    if kind != PCK_CHAIN && !PPID.contains(&(kind, length)) {
        return Err(malformed(format!("inner certification data of type {kind} and {length} bytes")));
    }
    if usize::try_from(u32::from_le_bytes(stated)) != Ok(outer) {
        return Err(malformed("the signature's part has another length than it says"));
    }
    match rest.get(outer..) {
        Some(after) if after.iter().all(|b| *b == 0) => Ok(()),
        _ => Err(malformed("bytes after its end")),
    }
}
