//! AWS Nitro Enclaves attestation documents.
//!
//! Evidence is the COSE_Sign1 (RFC 9052) that the Nitro Secure Module returned, untagged or with tag 18. It carries its leaf
//! certificate and the chain to AWS's root, which the policy pins. Endorsements: revocation lists, DER; certificates are
//! added to the document's.
//!
//! `user_data` is the binding's digest; `nonce` and `public_key`, if present, are the Offer's nonce and the sealing key. The
//! document's time is a claim: what limits its age is its leaf, which lives for three hours.

use std::collections::BTreeMap;

use ring::signature::ECDSA_P384_SHA384_FIXED;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use crate::{
    Accept, Chain, Code, EvidenceKind, Findings, Given, Reason, Status, TrustVector, Verifier, chain,
    tee::{accept, judge, measured},
};

/// Bytes of the largest document: the largest response of the Nitro Secure Module is 12 KiB.
pub const DOCUMENT_MAX: usize = 16 << 10;
/// Certificates in the document's own chain.
const BUNDLE_MAX: usize = 12;
/// Registers in a document.
const PCRS_MAX: usize = 32;
/// The protected header: `{1: -35}`, algorithm ES384, and nothing else.
const ES384: &[u8] = &[0xa1, 0x01, 0x38, 0x22];
/// CBOR tag 18, COSE_Sign1.
const TAG: u8 = 0xd2;

/// The verifier of [`EvidenceKind::Nitro`].
#[derive(Clone, Copy, Debug)]
pub struct Nitro;

impl Verifier for Nitro {
    fn verify(&self, given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
        let digest = given.binding.digest();
        let bound = Bound { user_data: Some(&digest), nonce: &given.binding.nonce, public_key: &given.binding.sealing };
        verify(&bound, given, findings)
    }
}

/// What a document must be bound to.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Its `user_data`.
    pub user_data: Option<&'a [u8]>,
    /// Its `nonce`, if it has one.
    pub nonce: &'a [u8],
    /// Its `public_key`, if it has one.
    pub public_key: &'a [u8],
}

/// As [`Nitro`], bound to something else than the binding: for evidence that was made for something else.
///
/// # Errors
/// As [`Verifier::verify`].
pub fn verify(bound: &Bound<'_>, given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
    let mut spoken_of = TrustVector::default();
    let verdict =
        accept(given, EvidenceKind::Nitro).and_then(|accept| look(bound, given, accept, findings, &mut spoken_of));
    judge(findings, spoken_of, &verdict);
    verdict
}

/// A COSE_Sign1: protected header, unprotected header, payload, signature.
#[derive(Serialize, Deserialize)]
struct Sign1(ByteBuf, BTreeMap<i64, i64>, ByteBuf, ByteBuf);

/// The payload. Fields that are not known are passed over: AWS has signed them.
#[derive(Deserialize)]
struct Document {
    module_id: String,
    digest: String,
    timestamp: u64,
    pcrs: BTreeMap<u8, ByteBuf>,
    certificate: ByteBuf,
    cabundle: Vec<ByteBuf>,
    public_key: Option<ByteBuf>,
    user_data: Option<ByteBuf>,
    nonce: Option<ByteBuf>,
}

fn malformed(why: impl std::fmt::Display) -> Reason {
    let why: String = why.to_string().chars().take(120).collect();
    Reason::new(Code::EvidenceMalformed, format!("Nitro document: {why}"))
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Reason> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(malformed(format!("{} bytes after it", rest.len()))) }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Reason> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).map_err(malformed)?;
    Ok(bytes)
}

impl Sign1 {
    /// Nothing beside what is signed: no unprotected header, one form of each length.
    fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        if bytes.len() > DOCUMENT_MAX {
            return Err(malformed(format!("{} bytes; at most {DOCUMENT_MAX} are read", bytes.len())));
        }
        let untagged = bytes.strip_prefix(&[TAG]).unwrap_or(bytes);
        let sign1: Self = decode(untagged)?;
        if encode(&sign1)? != untagged {
            return Err(malformed("not in deterministic form"));
        }
        if sign1.0.as_slice() != ES384 || !sign1.1.is_empty() {
            return Err(malformed("its headers are not those of ES384 alone"));
        }
        Ok(sign1)
    }

    /// What is signed (RFC 9052, section 4.4).
    fn signed(&self) -> Result<Vec<u8>, Reason> {
        encode(&("Signature1", &self.0, Bytes::new(&[]), &self.2))
    }
}

impl Document {
    fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let document: Self = decode(bytes)?;
        if document.digest != "SHA384" {
            return Err(malformed("its registers are not of SHA-384"));
        }
        if document.cabundle.len() > BUNDLE_MAX {
            return Err(malformed(format!("more than {BUNDLE_MAX} certificates")));
        }
        if document.pcrs.len() > PCRS_MAX || document.pcrs.values().any(|value| value.len() != 48) {
            return Err(malformed(format!("more than {PCRS_MAX} registers, or one that has not 48 bytes")));
        }
        if !document.pcrs.contains_key(&0) {
            return Err(malformed("it has no PCR0"));
        }
        Ok(document)
    }

    /// An enclave in debug mode has zeros in the registers that measure its image.
    fn is_debug(&self) -> bool {
        self.pcrs.get(&0).is_none_or(|value| value.iter().all(|byte| *byte == 0))
    }

    fn claim(&self, findings: &mut Findings) {
        findings.claim("module-id", self.module_id.chars().take(120).collect::<String>());
        findings.claim("timestamp-ms", self.timestamp);
        for (index, value) in self.pcrs.iter().filter(|(_, value)| value.iter().any(|byte| *byte != 0)) {
            findings.claim(&format!("pcr{index}"), hex::encode(value));
        }
    }
}

fn look(
    bound: &Bound<'_>,
    given: &Given<'_>,
    accept: &Accept,
    findings: &mut Findings,
    spoken_of: &mut TrustVector,
) -> Result<(), Reason> {
    let sign1 = Sign1::parse(&given.envelope.evidence)?;
    let document = Document::parse(&sign1.2)?;
    document.claim(findings);
    let (stapled, lists) = chain::split(given.envelope.endorsements.iter().map(|e| e.as_slice()));
    let chain = Chain {
        leaf: &document.certificate,
        issuers: document.cabundle.iter().map(|c| c.as_slice()).chain(stapled).collect(),
        lists,
        roots: &accept.roots,
        purpose: None,
        revocation: accept.revocation,
    };
    let path = chain.check(given.now, given.seen, findings)?;
    let signed = sign1.signed()?;
    if !path.first().is_some_and(|leaf| leaf.has_signed(&ECDSA_P384_SHA384_FIXED, &signed, &sign1.3)) {
        return Err(Reason::new(Code::SignatureInvalid, "the document is not signed by its certificate's key"));
    }
    *spoken_of = TrustVector {
        instance_identity: Status::Affirming,
        configuration: if document.is_debug() { Status::Warning } else { Status::Affirming },
        executables: if accept.any_measurement { Status::Warning } else { Status::Affirming },
        hardware: Status::None,
    };
    let differs = |field: &Option<ByteBuf>, wanted: &[u8]| field.as_ref().is_some_and(|f| f.as_slice() != wanted);
    for (name, is_other) in [
        ("user_data", document.user_data.as_ref().map(|f| f.as_slice()) != bound.user_data),
        ("nonce", differs(&document.nonce, bound.nonce)),
        ("public_key", differs(&document.public_key, bound.public_key)),
    ] {
        if is_other {
            findings.reason(Code::BindingMismatch, format!("its {name} is not that of this binding"));
        }
    }
    if document.is_debug() && !accept.debug {
        findings.reason(Code::DebugEnabled, "PCR0 is zero: the enclave runs in debug mode");
    }
    let registers: Vec<_> = document.pcrs.iter().map(|(n, value)| (format!("pcr{n}"), value.as_slice())).collect();
    measured(accept, &registers, findings);
    Ok(())
}
