//! TPM 2.0: a quote over the SHA-256 registers, by an attestation key of a TPM whose maker vouches for it.
//!
//! The envelope's parts, for kind `tpm2`:
//! - evidence: [`Evidence`], deterministic CBOR of the TPM's own structures;
//! - log: the TCG event log, as firmware and kernel hand it out, if there is one ([`eventlog`], [`secureboot`]);
//! - endorsements: first the DER of the endorsement key's certificate, or of a certificate of the attestation key itself (as
//!   Google Cloud and Azure make them); after it intermediates, and the root.
//!
//! A certificate of the attestation key suffices. One of the endorsement key says nothing of the attestation key: the two
//! must be shown to live in one TPM, by a credential ([`make_credential`]) that the TPM has opened. Until then the verdict
//! carries [`Findings::activation`] and the reason [`Code::ActivationMissing`].
//!
//! What this proves is that *some* TPM with these registers has quoted the node's keys. A process with root's rights can
//! relay the TPM of another machine, so it is never more than L1. A cloud's virtual TPM is worth as much as its provider.

mod credential;
pub mod eventlog;
pub mod parse;
mod reader;
pub mod secureboot;
mod spki;

use std::collections::BTreeMap;

use ring::signature as sig;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

pub use credential::{Credential, CredentialError, RANDOM, SECRET_MAX, make_credential};
use eventlog::{Replay, SECURE_BOOT};
use parse::{Key, Public, Quote, Signature, attribute, id};

use crate::{
    Accept, Chain, Code, Envelope, EvidenceKind, Findings, Given, Reason, Status, Verifier, chain, envelope, tee::image,
};

/// Bytes of the largest evidence: a key, a quote and a signature of 4096 bits, and 24 registers.
pub const EVIDENCE_MAX: usize = 8 << 10;
/// 2.23.133.8.1, tcg-kp-EKCertificate.
const EK_PURPOSE: &[&[u8]] = &[&[0x67, 0x81, 0x05, 0x08, 0x01]];
/// Of attestation keys: 2.23.133.8.3, tcg-kp-AIKCertificate, as Azure's leaves have; or that of endorsement keys, as Google
/// Cloud's and the intermediates of both have. Where a certificate is of the key that has quoted, both say the same.
const AK_PURPOSES: &[&[u8]] = &[&[0x67, 0x81, 0x05, 0x08, 0x03], &[0x67, 0x81, 0x05, 0x08, 0x01]];
/// Registers of a TPM on a PC.
const REGISTERS: u8 = 24;
/// Those below are firmware's, which puts a separator at least into each (TCG PC Client Platform Firmware Profile), so that every
/// log of a boot has them. What an operating system extends of the others, as IMA does register 10, is in logs of its own.
const FIRMWARE: u8 = 8;

/// What a worker's TPM has made.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `TPMT_PUBLIC` of the attestation key, without a length before it.
    #[serde(with = "serde_bytes")]
    pub ak: Vec<u8>,
    /// `TPMS_ATTEST`: what the TPM has signed.
    #[serde(with = "serde_bytes")]
    pub quote: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
    /// The quoted registers of the SHA-256 bank.
    pub pcrs: BTreeMap<u8, ByteArray<32>>,
}

impl Evidence {
    /// The bytes for an envelope.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// Reads an envelope's evidence.
    ///
    /// # Errors
    /// [`Code::EvidenceMalformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        if bytes.len() > EVIDENCE_MAX {
            return Err(malformed(format!("{} bytes; at most {EVIDENCE_MAX} are read", bytes.len())));
        }
        envelope::decode(bytes).map_err(malformed)
    }

    /// Checks that a restricted key of a TPM has signed `qualifying` and these registers: everything about the quote that
    /// neither certificates nor a policy are needed for.
    ///
    /// # Errors
    /// The first reason against it: malformed, not such a key, signature, qualifying data, registers.
    pub fn check(&self, qualifying: &[u8]) -> Result<(Public, Quote), Reason> {
        let ak = Public::parse(&self.ak).map_err(malformed)?;
        let quote = Quote::parse(&self.quote).map_err(malformed)?;
        let signature = Signature::parse(&self.signature).map_err(malformed)?;
        restricted(&ak)?;
        if ak.scheme != Some((signature.scheme(), id::SHA256)) || !signed(&ak.key, &self.quote, &signature) {
            return Err(Reason::new(Code::SignatureInvalid, "the attestation key has not signed this quote"));
        }
        if quote.qualifying != qualifying {
            let found = hex::encode(&quote.qualifying);
            return Err(Reason::new(
                Code::BindingMismatch,
                format!("it quotes {found}, not {}", hex::encode(qualifying)),
            ));
        }
        self.registers(&quote)?;
        Ok((ak, quote))
    }

    /// The registers beside the quote are those that it has signed a digest of.
    fn registers(&self, quote: &Quote) -> Result<(), Reason> {
        let mut hash = Sha256::new();
        let mut quoted = 0_u32;
        for (bank, bits) in quote.selections.iter().filter(|(_, bits)| *bits != 0) {
            if *bank != id::SHA256 || quoted != 0 {
                let detail = format!("the quote is over bank {bank:#06x}; it must be over SHA-256 (0x000b) alone");
                return Err(Reason::new(Code::PcrMissing, detail));
            }
            quoted = *bits;
        }
        for index in 0..32_u8 {
            let wanted = quoted >> index & 1 == 1;
            match self.pcrs.get(&index) {
                Some(value) if wanted && index < REGISTERS => hash.update(value.as_ref()),
                None if !wanted => {}
                _ => return Err(malformed(format!("register {index} is either quoted or given, not both"))),
            }
        }
        if self.pcrs.keys().any(|index| *index >= REGISTERS) {
            return Err(malformed("a register over 23"));
        }
        if hash.finalize()[..] != quote.digest[..] {
            return Err(Reason::new(Code::SignatureInvalid, "the registers are not those that were signed"));
        }
        Ok(())
    }
}

fn malformed(why: impl ToString) -> Reason {
    Reason::new(Code::EvidenceMalformed, why.to_string())
}

/// A key that other software can use as it likes would sign a quote that no TPM has made.
fn restricted(ak: &Public) -> Result<(), Reason> {
    let wanted = [
        (attribute::RESTRICTED, "restricted"),
        (attribute::SIGN, "sign"),
        (attribute::FIXED_TPM, "fixedTPM"),
        (attribute::FIXED_PARENT, "fixedParent"),
        (attribute::SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    ];
    for (bit, name) in wanted {
        if ak.attributes & bit == 0 {
            return Err(Reason::new(Code::IdentityMismatch, format!("the attestation key is not {name}")));
        }
    }
    if ak.attributes & attribute::DECRYPT != 0 {
        return Err(Reason::new(Code::IdentityMismatch, "the attestation key decrypts too"));
    }
    Ok(())
}

fn signed(key: &Key, message: &[u8], signature: &Signature) -> bool {
    let rsa = |algorithm, bytes: &[u8]| {
        let Key::Rsa { modulus, exponent } = key else { return false };
        let exponent = exponent.to_be_bytes();
        let skip = exponent.iter().take_while(|b| **b == 0).count();
        let key = sig::RsaPublicKeyComponents { n: &modulus[..], e: exponent.split_at(skip).1 };
        key.verify(algorithm, message, bytes).is_ok()
    };
    match signature {
        Signature::RsaSsa(bytes) => rsa(&sig::RSA_PKCS1_2048_8192_SHA256, bytes),
        Signature::RsaPss(bytes) => rsa(&sig::RSA_PSS_2048_8192_SHA256, bytes),
        Signature::Ecdsa(bytes) => {
            let Key::P256 { x, y } = key else { return false };
            let point = [&[4][..], x, y].concat();
            sig::UnparsedPublicKey::new(&sig::ECDSA_P256_SHA256_FIXED, point).verify(message, bytes).is_ok()
        }
    }
}

/// The key in a certificate.
///
/// # Errors
/// Why there is none that a TPM's structures have too.
pub fn certificate_key(der: &[u8]) -> Result<Key, String> {
    let certificate = Certificate::from_der(der).map_err(|e| e.to_string())?;
    let key = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(|e| e.to_string())?;
    spki::key(&key).map_err(|e| e.to_string())
}

/// The certificate in what a TPM stores, or in a file of that: some makers fill the place up behind it, and those of TPM 1.2
/// have a header before it (TCG PC Client Specific Implementation Specification for Conventional BIOS, section 7.3.2: tag
/// 1001, type 0, a length, tag 1002). `None` if there is none, or if it is cut off.
pub fn stored_certificate(bytes: &[u8]) -> Option<&[u8]> {
    let der = match bytes {
        [0x10, 0x01, 0x00, _, _, 0x10, 0x02, der @ ..] => der,
        der => der,
    };
    let [0x30, 0x82, high, low, ..] = der else { return None };
    der.get(..4 + usize::from(u16::from_be_bytes([*high, *low])))
}

/// The verifier of kind `tpm2`.
#[derive(Clone, Copy, Debug)]
pub struct Tpm2;

impl Verifier for Tpm2 {
    fn verify(&self, given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
        self.verify_quoting(&given.binding.short(), given, findings)
    }
}

impl Tpm2 {
    /// As [`Verifier::verify`], with the qualifying data that must be quoted instead of the binding: so quotes that were made
    /// elsewhere can be looked at.
    ///
    /// # Errors
    /// What makes the rest meaningless.
    pub fn verify_quoting(&self, qualifying: &[u8], given: &Given<'_>, findings: &mut Findings) -> Result<(), Reason> {
        let accept = given.policy.accept(EvidenceKind::Tpm2);
        let accept = accept.ok_or_else(|| Reason::new(Code::KindNotAccepted, "the policy has no section `tpm2`"))?;
        let evidence = Evidence::decode(&given.envelope.evidence)?;
        let (ak, quote) = evidence.check(qualifying)?;
        findings.claim("ak-name", hex::encode(ak.name));
        findings.claim("firmware", format!("{:016x}", quote.firmware));
        findings.claim("resets", quote.resets);
        findings.claim("restarts", quote.restarts);
        for (index, value) in &evidence.pcrs {
            findings.claim(&format!("pcr{index:02}"), hex::encode(value.as_ref()));
        }
        registers(accept, &evidence, findings);
        log(accept, &evidence, given.envelope.log.as_ref().map(|l| &l[..]), findings);
        identity(accept, given, &ak, findings)
    }
}

/// Certificates, of which the first is the endorsement or attestation key's, and revocation lists, which may stand anywhere.
fn split(envelope: &Envelope) -> (Vec<&[u8]>, Vec<&[u8]>) {
    chain::split(envelope.endorsements.iter().map(|der| &der[..]))
}

/// The certificate that an envelope's verdict is about, and that a credential must be made for: of the endorsement key, or of the
/// attestation key itself.
pub fn leaf(envelope: &Envelope) -> Option<&[u8]> {
    split(envelope).0.first().copied()
}

/// Whose key it is: a chain to a pinned root, and if that is of the endorsement key, that both keys live in one TPM.
fn identity(accept: &Accept, given: &Given<'_>, ak: &Public, findings: &mut Findings) -> Result<(), Reason> {
    let (certificates, lists) = split(given.envelope);
    let Some((leaf, issuers)) = certificates.split_first() else {
        return Err(Reason::new(Code::ChainInvalid, "no certificate of an endorsement or attestation key came along"));
    };
    let invalid = |why| Reason::new(Code::ChainInvalid, format!("the key's certificate: {why}"));
    let certified = certificate_key(leaf).map_err(invalid)? == ak.key;
    let before = findings.reasons.len();
    let chain = Chain {
        leaf,
        issuers: issuers.to_vec(),
        lists,
        roots: &accept.roots,
        purpose: Some(if certified { AK_PURPOSES } else { EK_PURPOSE }),
        revocation: accept.revocation,
    };
    let path = chain.check(given.now, given.seen, findings)?;
    let sha256 = path.first().map(|leaf| hex::encode(leaf.sha256)).unwrap_or_default();
    findings.claim(if certified { "ak-certificate" } else { "ek-certificate" }, &sha256);
    if let Some(root) = path.last() {
        findings.claim("root", root.name());
    }
    if !certified {
        let pair = format!("{sha256}:{}", hex::encode(ak.name));
        if !given.activated.contains(&pair) {
            let detail = "nothing shows yet that the attestation key lives in the endorsement key's TPM";
            findings.reason(Code::ActivationMissing, detail);
        }
        findings.activation = Some(pair);
    }
    let affirmed = findings.reasons.len() == before;
    findings.vector.instance_identity = if affirmed { Status::Affirming } else { Status::Warning };
    findings.vector.hardware = findings.vector.instance_identity;
    Ok(())
}

/// The policy's registers.
fn registers(accept: &Accept, evidence: &Evidence, findings: &mut Findings) {
    for index in accept.quoted.iter().filter(|index| !evidence.pcrs.contains_key(index)) {
        findings.reason(Code::PcrMissing, format!("register {index} is not in the quote"));
    }
    let before = findings.reasons.len();
    let mut matched = 0;
    for pcr in &accept.pcrs {
        let Some(found) = evidence.pcrs.get(&pcr.index).map(|v| hex::encode(v.as_ref())) else { continue };
        // Entries with the same register are alternatives, each with its own provenance.
        let wanted = accept.pcrs.iter().filter(|p| p.index == pcr.index).flat_map(|p| &p.values);
        if wanted.clone().any(|value| value.eq_ignore_ascii_case(&found)) {
            matched += 1;
            continue;
        }
        let wanted = wanted.map(|v| v.to_lowercase()).collect::<Vec<_>>().join(" or ");
        let detail = format!("register {} is {found}, not {wanted}", pcr.index);
        if !findings.reasons.iter().any(|r| r.detail == detail) {
            findings.reason(Code::PcrMismatch, detail);
        }
    }
    let values: Vec<_> = evidence.pcrs.iter().map(|(n, value)| (format!("pcr{n}"), &value[..])).collect();
    image(accept, &values, Code::PcrMismatch, findings);
    matched += accept.images.len();
    findings.vector.executables = match (findings.reasons.len() > before, matched) {
        (true, _) => Status::Warning,
        (false, 0) => Status::None,
        (false, _) => Status::Affirming,
    };
}

/// Firmware's registers that the policy wants and of which the log has no event. Another that it leads to makes up for none: a worker can
/// extend one of its own choice and write the event.
fn unexplained(accept: &Accept, evidence: &Evidence, replay: &Replay, findings: &mut Findings) {
    if replay.sha256.keys().all(|index| !evidence.pcrs.contains_key(index)) {
        return findings.reason(Code::LogMismatch, "the log leads to none of the quoted registers");
    }
    let firmwares = accept.quoted.iter().filter(|index| **index < FIRMWARE && !replay.sha256.contains_key(index));
    for index in firmwares {
        let Some(quoted) = evidence.pcrs.get(index) else { continue };
        let quoted = hex::encode(quoted.as_ref());
        findings.reason(Code::LogMismatch, format!("register {index}: the log has no event of it, quoted is {quoted}"));
    }
}

/// The event log must lead to the quoted registers, and show what the policy wants of Secure Boot.
fn log(accept: &Accept, evidence: &Evidence, log: Option<&[u8]>, findings: &mut Findings) {
    let Some(log) = log else {
        if accept.log || accept.secure_boot {
            findings.reason(Code::LogMissing, "the policy wants an event log, and none came");
        }
        return;
    };
    let replay = match eventlog::replay(log) {
        Ok(replay) => replay,
        Err(error) => return findings.reason(Code::LogMismatch, error.to_string()),
    };
    findings.claim("log-events", replay.events);
    if !replay.has_sha256 {
        let detail = "the log has SHA-1 digests alone, which cannot lead to SHA-256 registers";
        return findings.reason(Code::LogMismatch, detail);
    }
    let mut led = vec![];
    for (index, value) in &replay.sha256 {
        let Some(quoted) = evidence.pcrs.get(index) else { continue };
        if quoted.as_ref() == value {
            led.push(*index);
            continue;
        }
        let (value, quoted) = (hex::encode(value), hex::encode(quoted.as_ref()));
        findings.reason(Code::LogMismatch, format!("register {index}: the log leads to {value}, quoted is {quoted}"));
    }
    if accept.log {
        unexplained(accept, evidence, &replay, findings);
    }
    findings.claim("log-explains", led.iter().map(u8::to_string).collect::<Vec<_>>().join(" "));
    // Without events of the register there is nothing to read; where it is another than was quoted, nothing may be.
    if accept.secure_boot && (led.contains(&SECURE_BOOT) || replay.secure_boot.is_empty()) {
        secureboot::judge(accept, &replay.secure_boot, findings);
    }
}
