//! The keys that are made from the endorsement seed: with the same template a TPM makes the same key each time.

use eider_attest::tpm2::parse::{attribute, id};
use sha2::{Digest, Sha256};

use super::command::sized;

/// Of what kind the attestation key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AkKind {
    /// ECDSA with P-256: fast everywhere.
    #[default]
    P256,
    /// RSASSA with 2048 bits, for TPMs without P-256.
    Rsa2048,
}

/// Policy of default endorsement keys: `PolicySecret` with the endorsement hierarchy's authorisation (TCG EK Credential
/// Profile, B.3.3, template L-1).
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// `TPMT_PUBLIC` of the default RSA-2048 endorsement key.
pub(super) fn ek() -> Vec<u8> {
    let attributes = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::ADMIN_WITH_POLICY
        | attribute::RESTRICTED
        | attribute::DECRYPT;
    let mut all = head(id::RSA, attributes, &EK_POLICY);
    for value in [id::AES, 128, id::CFB, id::NULL, 2048] {
        all.extend(value.to_be_bytes());
    }
    all.extend(0_u32.to_be_bytes());
    all.extend(sized(&[0; 256]));
    all
}

/// `TPMT_PUBLIC` of the attestation key: a restricted signing key that is this project's own.
pub(super) fn ak(kind: AkKind) -> Vec<u8> {
    let attributes = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::USER_WITH_AUTH
        | attribute::NO_DA
        | attribute::RESTRICTED
        | attribute::SIGN;
    // What fills the key's place in its template goes into its derivation.
    let unique = Sha256::digest(b"eider/1 attestation key");
    let (algorithm, numbers) = match kind {
        AkKind::P256 => (id::ECC, [id::NULL, id::ECDSA, id::SHA256, id::P256, id::NULL]),
        AkKind::Rsa2048 => (id::RSA, [id::NULL, id::RSASSA, id::SHA256, 2048, 0]),
    };
    let mut all = head(algorithm, attributes, &[]);
    for value in numbers {
        all.extend(value.to_be_bytes());
    }
    match kind {
        AkKind::P256 => {
            all.extend(sized(&unique));
            all.extend(sized(&[0; 32]));
        }
        // The second half of the exponent, which is 0 for the default.
        AkKind::Rsa2048 => {
            all.extend(0_u16.to_be_bytes());
            all.extend(sized(&unique));
        }
    }
    all
}

fn head(algorithm: u16, attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut all = vec![];
    all.extend(algorithm.to_be_bytes());
    all.extend(id::SHA256.to_be_bytes());
    all.extend(attributes.to_be_bytes());
    all.extend(sized(policy));
    all
}
