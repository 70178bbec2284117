//! TPMs whose endorsement key is one of P-256.

use std::collections::BTreeMap;

use eider_attest::tpm2::make_credential;
use eider_attest::tpm2::parse::Public;
use eider_attest::{Code, Tier};
use eider_attest_device::swtpm::{Swtpm, required};
use eider_attest_device::{EkKind, Tpm, TpmError};
use sha2::{Digest, Sha256};

use crate::scene::{Cloud, EK_PURPOSE, REGISTERS, Scene, policy};

/// The certificate of a TPM's P-256 endorsement key, and its authority.
fn p_256(tpm: &mut Tpm) -> (Vec<u8>, Cloud) {
    let cloud = Cloud::new();
    (cloud.certify(&Public::parse(&tpm.ek(EkKind::P256).unwrap()).unwrap().key, EK_PURPOSE), cloud)
}

#[test]
fn a_tpm_with_the_certificate_of_a_p_256_key_alone_proves_l1() {
    if !required() {
        return;
    }
    let swtpm = Swtpm::blank().unwrap();
    let mut tpm = swtpm.tpm().unwrap();
    assert!(matches!(tpm.ek_certificate(), Err(TpmError::NoCertificate { index: 0x01c0_000a, .. })));
    let (leaf, cloud) = p_256(&mut tpm);
    tpm.store(0x01c0_000a, &[&leaf[..], &[0xff; 300]].concat(), true).unwrap();
    let values = tpm.pcrs(&REGISTERS).unwrap();
    let mut scene = Scene::of(swtpm, policy(&hex::encode(Sha256::digest(cloud.root())), &values));
    let produced = tpm.produce(&REGISTERS, &scene.binding().short(), None, None, cloud.issuers()).unwrap();
    assert_eq!(produced.endorsements[0], leaf, "without its padding");
    assert_eq!(scene.codes(&produced), [Code::ActivationMissing]);
    tpm.holds(&leaf).unwrap();
    scene.activate(&mut tpm, &produced);
    let verdict = scene.verdict(&produced);
    assert_eq!((verdict.tier, &verdict.reasons[..]), (Tier::L1, &[][..]));
    assert!(verdict.claims.contains_key("ek-certificate"));
}

#[test]
fn a_credential_for_a_p_256_key_is_opened_by_its_tpm_and_attestation_key_alone() {
    if !required() {
        return;
    }
    let (swtpm, other) = (Swtpm::blank().unwrap(), Swtpm::blank().unwrap());
    let (mut tpm, mut foreign) = (swtpm.tpm().unwrap(), other.tpm().unwrap());
    let (leaf, _) = p_256(&mut tpm);
    let ak = Public::parse(&tpm.ak().unwrap()).unwrap().name;
    let credential = make_credential(&leaf, &ak, &[8; 32], &[9; 64]).unwrap();
    assert_eq!(tpm.activate(&credential).unwrap(), [8; 32]);
    assert!(matches!(foreign.activate(&credential), Err(TpmError::Refused { .. })));
    assert!(matches!(foreign.holds(&leaf), Err(TpmError::OtherKey)));
    let theirs = Public::parse(&foreign.ak().unwrap()).unwrap().name;
    let refused = tpm.activate(&make_credential(&leaf, &theirs, &[8; 32], &[9; 64]).unwrap());
    assert!(matches!(refused, Err(TpmError::Refused { code: 0x1df, .. })), "{refused:?}");
    for n in 0..credential.blob.len() + credential.secret.len() {
        let mut flipped = credential.clone();
        match n.checked_sub(credential.blob.len()) {
            None => flipped.blob[n] ^= 1,
            Some(n) => flipped.secret[n] ^= 1,
        }
        assert!(matches!(tpm.activate(&flipped), Err(TpmError::Refused { .. })), "byte {n}");
    }
    assert_eq!(tpm.activate(&credential).unwrap(), [8; 32], "nothing was left behind");
}

#[test]
fn of_two_certificates_that_of_the_rsa_key_is_sent_unless_the_other_is_given() {
    let Some(mut scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    let rsa = tpm.ek_certificate().unwrap();
    let (leaf, cloud) = p_256(&mut tpm);
    tpm.store(0x01c0_000a, &leaf, true).unwrap();
    assert_eq!(tpm.ek_certificate().unwrap(), rsa);
    scene.policy = policy(&hex::encode(Sha256::digest(cloud.root())), &BTreeMap::new());
    let qualifying = scene.binding().short();
    let produced = tpm.produce(&REGISTERS, &qualifying, None, Some(leaf), cloud.issuers()).unwrap();
    assert_eq!(scene.codes(&produced), [Code::ActivationMissing]);
    scene.activate(&mut tpm, &produced);
    assert_eq!(scene.codes(&produced), []);
}
