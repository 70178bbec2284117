//! The keys that are made from the endorsement seed: with the same template a TPM makes the same key each time.

use eider_attest::tpm2::Credential;
use eider_attest::tpm2::parse::{Key, attribute, id};
use sha2::{Digest, Sha256};

use super::command::sized;

/// Of what kind the attestation key is, and whose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AkKind {
    /// This project's own. ECDSA with P-256: fast everywhere.
    #[default]
    P256,
    /// This project's own. RSASSA with 2048 bits, for TPMs without P-256.
    Rsa2048,
    /// Google Cloud's of P-256, which Google has certified: its template and its certificate are stored in the TPM.
    GoogleP256,
    /// The same of RSA-2048.
    GoogleRsa2048,
    /// Azure's, which Microsoft has certified: it stays in the TPM, and its certificate beside it. These TPMs have no
    /// certificate of an endorsement key.
    Azure,
}

/// Where a cloud's attestation key is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The index of its template.
    Template(u32),
    /// The handle of the key.
    Persistent(u32),
}

impl AkKind {
    /// Where it is, and the index of its certificate; `None` for this project's own.
    pub(super) const fn place(self) -> Option<(Place, u32)> {
        match self {
            Self::P256 | Self::Rsa2048 => None,
            // As go-tpm-tools has them in `client/handles.go`.
            Self::GoogleRsa2048 => Some((Place::Template(0x01c1_0001), 0x01c1_0000)),
            Self::GoogleP256 => Some((Place::Template(0x01c1_0003), 0x01c1_0002)),
            // As Microsoft's documentation of Trusted Launch has them.
            Self::Azure => Some((Place::Persistent(0x8100_0003), 0x01c1_01d0)),
        }
    }
}

/// An endorsement key of a default template that credentials are made for (TCG EK Credential Profile, appendix B.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EkKind {
    /// RSA-2048, template L-1.
    Rsa2048,
    /// P-256, template L-2.
    P256,
}

impl EkKind {
    /// Of which kind a certified key is.
    pub const fn of(key: &Key) -> Self {
        match key {
            Key::Rsa { .. } => Self::Rsa2048,
            Key::P256 { .. } => Self::P256,
        }
    }

    /// For which kind a credential was made: to an RSA key a seed was encrypted, so that it is as long as the modulus; a point
    /// of a curve is shorter.
    pub(super) fn opens(credential: &Credential) -> Self {
        if credential.secret.len() == MODULUS { Self::Rsa2048 } else { Self::P256 }
    }

    /// The index of its certificate (section 2.2.1.4).
    pub(super) const fn certificate(self) -> u32 {
        match self {
            Self::Rsa2048 => 0x01c0_0002,
            Self::P256 => 0x01c0_000a,
        }
    }
}

/// Bytes of an RSA-2048 modulus.
const MODULUS: usize = 256;
/// Policy of default endorsement keys: `PolicySecret` with the endorsement hierarchy's authorisation (TCG EK Credential
/// Profile, B.3.3, templates L-1 and L-2).
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// `TPMT_PUBLIC` of a default endorsement key.
pub(super) fn ek(kind: EkKind) -> Vec<u8> {
    let attributes = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::ADMIN_WITH_POLICY
        | attribute::RESTRICTED
        | attribute::DECRYPT;
    let (algorithm, numbers) = match kind {
        // A size in bits, and the two halves of the default exponent.
        EkKind::Rsa2048 => (id::RSA, &[id::AES, 128, id::CFB, id::NULL, 2048, 0, 0][..]),
        EkKind::P256 => (id::ECC, &[id::AES, 128, id::CFB, id::NULL, id::P256, id::NULL][..]),
    };
    let mut all = head(algorithm, attributes, &EK_POLICY);
    for value in numbers {
        all.extend(value.to_be_bytes());
    }
    all.extend(match kind {
        EkKind::Rsa2048 => sized(&[0; MODULUS]),
        EkKind::P256 => [sized(&[0; 32]), sized(&[0; 32])].concat(),
    });
    all
}

/// `TPMT_PUBLIC` of this project's own attestation key, a restricted signing key: RSA or P-256.
pub(super) fn ak(is_rsa: bool) -> Vec<u8> {
    let attributes = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::USER_WITH_AUTH
        | attribute::NO_DA
        | attribute::RESTRICTED
        | attribute::SIGN;
    // What fills the key's place in its template goes into its derivation.
    let unique = Sha256::digest(b"eider/1 attestation key");
    let (algorithm, numbers) = if is_rsa {
        (id::RSA, [id::NULL, id::RSASSA, id::SHA256, 2048, 0])
    } else {
        (id::ECC, [id::NULL, id::ECDSA, id::SHA256, id::P256, id::NULL])
    };
    let mut all = head(algorithm, attributes, &[]);
    for value in numbers {
        all.extend(value.to_be_bytes());
    }
    if is_rsa {
        // The second half of the exponent, which is 0 for the default.
        all.extend(0_u16.to_be_bytes());
        all.extend(sized(&unique));
    } else {
        all.extend(sized(&unique));
        all.extend(sized(&[0; 32]));
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
