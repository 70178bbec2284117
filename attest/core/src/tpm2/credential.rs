//! A secret that only the TPM of one endorsement key can open, and only while it holds one attestation key
//! (`TPM2_MakeCredential`, TPM 2.0 Library part 1, section 24; the derivations are in section 11.4.10 and appendices B and C).
//!
//! Who gets the secret back knows that both keys live in one TPM. Endorsement keys of two default templates are served (AES-128
//! in CFB mode, SHA-256; TCG EK Credential Profile): RSA-2048 (L-1) and P-256 (L-2). They differ in how a seed gets to the TPM.
//! To an RSA key it is encrypted, with RSA-OAEP and a public key, so one modular power is all of RSA that is needed, and
//! nothing secret is an exponent. With a P-256 key it is agreed on (ECDH), with a key pair that is used this once.

use aes::Aes128;
use cfb_mode::Encryptor;
use cfb_mode::cipher::KeyIvInit;
use num_bigint::BigUint;
use p256::elliptic_curve::group::ff::FromUniformBytes;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::{AffinePoint, NonZeroScalar, ProjectivePoint, PublicKey, Scalar};
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
/// What the seed is for: OAEP's label and KDFe's, with the zero byte that TPMs count as part of it.
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
    /// Neither RSA-2048 nor P-256.
    #[error(
        "the endorsement key is {0}; credentials are made for RSA-2048 and P-256: send the certificate of such a key"
    )]
    Key(&'static str),
    /// No key comes of them; of others one does.
    #[error("the random bytes are a multiple of the curve's order; take others")]
    Random,
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
    let (seed, encrypted) = match certificate_key(ek).map_err(CredentialError::Certificate)? {
        Key::Rsa { modulus, .. } if modulus.len() == MODULUS => {
            let (seed, mask) = random.split_at(DIGEST);
            (seed.to_vec(), oaep(&modulus, seed, mask))
        }
        Key::Rsa { .. } => return Err(CredentialError::Key("RSA of another size")),
        Key::P256 { x, y } => agree(&x, &y, random)?,
    };

    let mut sized = Vec::with_capacity(2 + SECRET_MAX);
    sized.extend(u16::try_from(secret.len()).unwrap_or(u16::MAX).to_be_bytes());
    sized.extend(secret);
    let mut key = [0; 16];
    key.copy_from_slice(kdf_a(&seed, b"STORAGE", name, 128).split_at(16).0);
    Encryptor::<Aes128>::new(&key.into(), &[0; 16].into()).encrypt(&mut sized);

    let integrity = hmac::Key::new(hmac::HMAC_SHA256, &kdf_a(&seed, b"INTEGRITY", &[], 256));
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

/// KDFe with SHA-256, for one block of output. `label` ends with a zero byte.
fn kdf_e(z: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> [u8; DIGEST] {
    let mut hash = Sha256::new_with_prefix(1_u32.to_be_bytes());
    for part in [z, label, u, v] {
        hash.update(part);
    }
    hash.finalize().into()
}

/// A seed that the holder of a P-256 key can find too, and what it finds it with: `TPMS_ECC_POINT` of a key pair made of
/// `random`. Reduced from twice its length, that is as good as evenly drawn (FIPS 186-5, appendix A.2.1).
fn agree(x: &[u8; 32], y: &[u8; 32], random: &[u8; RANDOM]) -> Result<(Vec<u8>, Vec<u8>), CredentialError> {
    let theirs = PublicKey::from_sec1_bytes(&[&[4][..], x, y].concat());
    let theirs = theirs.map_err(|_| CredentialError::Key("no point of P-256"))?.to_projective();
    let ours = Option::<NonZeroScalar>::from(NonZeroScalar::new(Scalar::from_uniform_bytes(random)));
    let ours = ours.ok_or(CredentialError::Random)?;
    let public: AffinePoint = (ProjectivePoint::GENERATOR * *ours).to_affine();
    let shared: AffinePoint = (theirs * *ours).to_affine();
    let seed = kdf_e(&shared.x(), LABEL, &public.x(), x);
    let mut point = vec![];
    for number in [public.x(), public.y()] {
        point.extend(u16::try_from(number.len()).unwrap_or(u16::MAX).to_be_bytes());
        point.extend(number);
    }
    Ok((seed.to_vec(), point))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What Microsoft's simulator derives (google/go-tpm, `legacy/tpm2/test/kdf_test.go`).
    #[test]
    fn kdf_e_derives_what_the_reference_implementation_does() {
        let [z, u, v, derived] = [
            "69fd74d052a5cd9d6addf4ea791f4737eb297246dce604f6385c1392e0fb56b9",
            "c29f8cff1ce054ed5945abd393ee2eed3f67437d9db07b932156c65d32921373",
            "107937dc44e5bb5094d3d30a55efac77b6db3253ba42dabc804446b93864e055",
            "b15267e3f960f8f8f3b94ff3fc64119f6876974f984f82d50bd54abc7a6406e8",
        ]
        .map(|number| hex::decode(number).unwrap());
        assert_eq!(kdf_e(&z, b"DUPLICATE\0", &u, &v)[..], derived);
    }
}
