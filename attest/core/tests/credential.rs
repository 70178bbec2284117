//! Credentials for P-256 endorsement keys. `attest/device/tests/swtpm` has a TPM open them.
#![allow(clippy::unwrap_used)]

use eider_attest::tpm2::{CredentialError, RANDOM, SECRET_MAX, make_credential};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData};

/// A point, whether of the curve or not.
struct Point([u8; 65]);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn certificate(key: &impl PublicKeyData) -> Vec<u8> {
    let issuer = CertifiedIssuer::self_signed(CertificateParams::default(), KeyPair::generate().unwrap()).unwrap();
    CertificateParams::default().signed_by(key, &issuer).unwrap().der().to_vec()
}

/// Its private key is SHA-256 of `an endorsement key`.
fn key() -> Point {
    let point = "04cbac7b47bfee1f5a6bb230595b5e5e72e0339e1c326895b209e781909c00314f\
                 63ac769a27b57e5f5515516f87e9d3f81708f3bc46b989cb3e8c632bec142498";
    Point(hex::decode(point).unwrap().try_into().unwrap())
}

/// Numbers from 0 on.
fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|n| from + u8::try_from(n).unwrap())
}

const NAME: [u8; 34] = {
    let mut name = [7; 34];
    (name[0], name[1]) = (0, 0x0b);
    name
};

/// What arithmetic written down from the specification gives in another language, with OpenSSL's AES.
#[test]
fn a_credential_for_p_256_is_as_the_specification_says() {
    let made = make_credential(&certificate(&key()), &NAME, &counting::<SECRET_MAX>(32), &counting(0)).unwrap();
    assert_eq!(
        hex::encode(made.blob),
        "002038fcd87559dfb6c6f5847c13b3d5b4e9c47b7c9f95697244e523d6ab422f30c3a2ecb1164bd95055e9f6573c4b6cda8b7fe59f73ccf0db47\
         3084cbf5af7cec06e717"
    );
    assert_eq!(
        hex::encode(made.secret),
        "002025130125240cc709aeccf4b19d2ff320984374dda35caff1424695031b34dac30020ab967ed067b75ebfaf79267b7d0e6e72efa59871b20c\
         f574405f67aa8662d948"
    );
}

#[test]
fn other_random_bytes_make_another_credential_and_none_make_none() {
    let ek = certificate(&key());
    let make = |random| make_credential(&ek, &NAME, &[1; 32], random);
    let (one, other) = (make(&[5; RANDOM]).unwrap(), make(&[6; RANDOM]).unwrap());
    assert!(one.blob != other.blob && one.secret != other.secret);
    assert_eq!(make(&[0; RANDOM]), Err(CredentialError::Random));
}

#[test]
fn points_beside_the_curve_and_other_curves_are_refused() {
    let mut beside = key();
    beside.0[64] ^= 1;
    let refused = make_credential(&certificate(&beside), &NAME, &[1; 32], &[5; RANDOM]);
    assert_eq!(refused, Err(CredentialError::Key("no point of P-256")));
    let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let refused = make_credential(&certificate(&other), &NAME, &[1; 32], &[5; RANDOM]);
    assert!(matches!(refused, Err(CredentialError::Certificate(_))), "{refused:?}");
}
