//! A secret that only the TPM of one endorsement key can open, and only while it holds one attestation key
//! (`TPM2_MakeCredential`, TPM 2.0 Library part 1, section 24; the derivations are in section 11.4.10 and appendix B.10).
//!
//! Who gets the secret back knows that both keys live in one TPM. Only RSA-2048 endorsement keys of the default template
//! (AES-128 in CFB mode, SHA-256; TCG EK Credential Profile, template L-1) are served. The encryption is RSA-OAEP with a
//! public key, so one modular power is all of RSA that is needed, and nothing secret is an exponent.

use aes::Aes128;
use cfb_mode::Encryptor;
use cfb_mode::cipher::KeyIvInit;
use num_bigint::BigUint;
use ring::hmac;
use sha2::{Digest, Sha256};

use super::certificate_key;
use super::parse::Key;

/// Bytes of the longest secret: a digest of the endorsement key's name algorithm.
pub const SECRET_MAX: usize = 32;
/// Bytes of randomness that one credential uses.
pub const RANDOM: usize = 64;
/// Bytes of an RSA-2048 modulus.
const MODULUS: usize = 256;
/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;
/// OAEP's label, with the zero byte that TPMs count as part of it.
const LABEL: &[u8] = b"IDENTITY\0";

/// What a TPM is given to activate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// `TPM2B_ID_OBJECT`, without its length.
    pub blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`, without its length.
    pub secret: Vec<u8>,
}

/// Why no credential can be made.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// The certificate cannot be read.
    #[error("the endorsement key's certificate cannot be read: {0}; the worker must send the TPM's own certificate")]
    Certificate(String),
    /// Not RSA-2048.
    #[error("the endorsement key is {0}; credentials are made for RSA-2048 alone: send the TPM's RSA certificate")]
    Key(&'static str),
    /// Over [`SECRET_MAX`], or empty.
    #[error("a secret of {0} bytes; it must have 1 to {SECRET_MAX}")]
    Secret(usize),
}

/// Makes a credential. `ek` is the DER of the endorsement key's certificate, whose chain the caller has checked; `name` is the
/// attestation key's; `random` must be new for each credential.
///
/// # Errors
/// [`CredentialError`].
pub fn make_credential(
    ek: &[u8],
    name: &[u8; 34],
    secret: &[u8],
    random: &[u8; RANDOM],
) -> Result<Credential, CredentialError> {
    if secret.is_empty() || secret.len() > SECRET_MAX {
        return Err(CredentialError::Secret(secret.len()));
    }
    let modulus = match certificate_key(ek).map_err(CredentialError::Certificate)? {
        Key::Rsa { modulus, .. } if modulus.len() == MODULUS => modulus,
        Key::Rsa { .. } => return Err(CredentialError::Key("RSA of another size")),
        Key::P256 { .. } => return Err(CredentialError::Key("P-256")),
    };
    let (seed, mask) = random.split_at(DIGEST);
    let encrypted = oaep(&modulus, seed, mask);

    let mut sized = Vec::with_capacity(2 + SECRET_MAX);
    sized.extend(u16::try_from(secret.len()).unwrap_or(u16::MAX).to_be_bytes());
    sized.extend(secret);
    let mut key = [0; 16];
    key.copy_from_slice(kdf_a(seed, b"STORAGE", name, 128).split_at(16).0);
    Encryptor::<Aes128>::new(&key.into(), &[0; 16].into()).encrypt(&mut sized);

    let integrity = hmac::Key::new(hmac::HMAC_SHA256, &kdf_a(seed, b"INTEGRITY", &[], 256));
    let tag = hmac::sign(&integrity, &[&sized[..], name].concat());
    let blob = [&u16::try_from(DIGEST).unwrap_or(u16::MAX).to_be_bytes()[..], tag.as_ref(), &sized].concat();
    Ok(Credential { blob, secret: encrypted })
}

/// KDFa with SHA-256, for at most one block of output.
fn kdf_a(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> [u8; DIGEST] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut mac = hmac::Context::with_key(&key);
    for part in [&1_u32.to_be_bytes()[..], label, &[0], context, &bits.to_be_bytes()] {
        mac.update(part);
    }
    let mut out = [0; DIGEST];
    for (to, from) in out.iter_mut().zip(mac.sign().as_ref()) {
        *to = *from;
    }
    out
}

/// RSAES-OAEP with SHA-256 (RFC 8017, section 7.1.1) of a 32-byte message under a 256-byte modulus and exponent 65537.
fn oaep(modulus: &[u8], message: &[u8], seed: &[u8]) -> Vec<u8> {
    let mut data = vec![0; MODULUS - DIGEST - 1];
    data.splice(..DIGEST, Sha256::digest(LABEL));
    let start = data.len() - message.len();
    data.splice(start - 1.., [&[1], message].concat());
    xor(&mut data, seed);
    let mut seed = seed.to_vec();
    xor(&mut seed, &data);
    let padded = BigUint::from_bytes_be(&[&[0], &seed[..], &data].concat());
    let power = padded.modpow(&BigUint::from(65537_u32), &BigUint::from_bytes_be(modulus)).to_bytes_be();
    let mut out = vec![0; MODULUS - power.len()];
    out.extend(power);
    out
}

/// Adds MGF1 of `seed` to `data` (RFC 8017, appendix B.2.1).
fn xor(data: &mut [u8], seed: &[u8]) {
    for (counter, block) in (0_u32..).zip(data.chunks_mut(DIGEST)) {
        let mask = Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize();
        block.iter_mut().zip(mask).for_each(|(to, from)| *to ^= from);
    }
}
