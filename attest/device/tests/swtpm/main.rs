//! From a TPM to a verdict: a software TPM makes evidence, and `eider-attest` judges it.
#![allow(clippy::unwrap_used)]

mod ecc;
mod scene;
mod secureboot;

use std::collections::BTreeMap;
use std::process::Command;

use eider_attest::tpm2::parse::{Public, Reader};
use eider_attest::tpm2::{Credential, Evidence, make_credential};
use eider_attest::{Code, Tier};
use eider_attest_device::swtpm::Swtpm;
use eider_attest_device::{AkKind, EkKind, Produced, Tpm, TpmError};
use scene::{AK_PURPOSE, Cloud, EK_PURPOSE, GOOGLE, REGISTERS, Scene, name, policy};
use sha2::{Digest, Sha256};

#[test]
fn a_tpm_proves_l1_after_its_activation_and_not_before() {
    for kind in [AkKind::P256, AkKind::Rsa2048] {
        let Some(mut scene) = Scene::new() else { return };
        let mut tpm = scene.swtpm.tpm().unwrap().with_ak(kind);
        let produced = scene.produce(&mut tpm);
        let before = scene.verdict(&produced);
        assert_eq!(scene.codes(&produced), [Code::ActivationMissing], "{:?}", before.reasons);
        assert_eq!(before.tier, Tier::L0);
        tpm.holds(&produced.endorsements[0]).unwrap();
        scene.activate(&mut tpm, &produced);
        let after = scene.verdict(&produced);
        assert_eq!((after.tier, &after.reasons[..]), (Tier::L1, &[][..]));
        assert_eq!(after.activation, before.activation);
        drop(tpm);

        scene.swtpm.restart().unwrap();
        let mut tpm = scene.swtpm.tpm().unwrap().with_ak(kind);
        let again = scene.produce(&mut tpm);
        assert_eq!(name(&again), name(&produced), "the same key after a restart");
        assert_eq!(scene.verdict(&again).tier, Tier::L1, "one activation is for the pair of keys");
    }
}

#[test]
fn many_quotes_leave_no_keys_or_sessions_behind() {
    let Some(mut scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    let produced = scene.produce(&mut tpm);
    for _ in 0..8 {
        scene.activate(&mut tpm, &produced);
        let mut other = make_credential(&produced.endorsements[0], &name(&produced), &[1; 16], &[2; 64]).unwrap();
        other.blob[40] ^= 1;
        assert!(matches!(tpm.activate(&other), Err(TpmError::Refused { code: 0x1df, .. })));
    }
}

#[test]
fn an_attestation_key_of_another_tpm_cannot_be_activated() {
    let Some(scene) = Scene::new() else { return };
    let other = Swtpm::start().unwrap();
    let (mut tpm, mut foreign) = (scene.swtpm.tpm().unwrap(), other.tpm().unwrap());
    // The quote of one TPM beside the certificate of the other.
    let mut produced = scene.produce(&mut foreign);
    assert_ne!(produced.endorsements[0], tpm.ek_certificate().unwrap());
    assert_eq!(scene.codes(&produced), [Code::ChainInvalid], "its own certificate is of another authority");
    produced.endorsements[0] = tpm.ek_certificate().unwrap();
    assert_eq!(scene.codes(&produced), [Code::ActivationMissing]);
    let credential = make_credential(&produced.endorsements[0], &name(&produced), &[8; 32], &[9; 64]).unwrap();
    let refused = tpm.activate(&credential).unwrap_err();
    assert!(matches!(refused, TpmError::Refused { code: 0x1df, .. }), "{refused}");
    assert!(refused.to_string().contains("another attestation key"), "{refused}");
    let refused = foreign.activate(&credential).unwrap_err();
    assert!(matches!(refused, TpmError::Refused { .. }), "{refused}");
    assert!(matches!(foreign.holds(&produced.endorsements[0]), Err(TpmError::OtherKey)));
    assert_eq!(scene.codes(&produced), [Code::ActivationMissing]);
}

#[test]
fn a_changed_register_and_another_nonce_have_their_reasons() {
    let Some(mut scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    let produced = scene.produce(&mut tpm);
    scene.activate(&mut tpm, &produced);
    let other = tpm.produce(&REGISTERS, &[7; 32], None, None, scene.swtpm.issuers().unwrap()).unwrap();
    assert_eq!(scene.codes(&other), [Code::BindingMismatch]);
    let fewer = tpm.produce(&[0, 7], &scene.binding().short(), None, None, scene.swtpm.issuers().unwrap()).unwrap();
    assert_eq!(scene.codes(&fewer), [Code::PcrMissing]);
    tpm.extend(16, &[1; 32]).unwrap();
    let changed = scene.verdict(&scene.produce(&mut tpm));
    assert_eq!(changed.reasons.iter().map(|r| r.code).collect::<Vec<_>>(), [Code::PcrMismatch]);
    assert!(changed.reasons[0].detail.starts_with("register 16 is "), "{}", changed.reasons[0]);
    assert_eq!(scene.codes(&produced), [], "what was quoted before still holds");
    // A log that leads to no such register.
    let mut logged = produced.clone();
    logged.log = Some([&16_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), &[1; 20], &0_u32.to_le_bytes()].concat());
    assert_eq!(scene.codes(&logged), [Code::LogMismatch]);
    assert!(matches!(tpm.pcrs(&[24]), Err(TpmError::Register(24))));
}

#[test]
fn a_password_of_the_endorsement_hierarchy_must_be_given() {
    let Some(mut scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    tpm.set_endorsement_password(b"secret").unwrap();
    let refused = tpm.ak().unwrap_err().to_string();
    assert!(refused.contains("give the password of the endorsement hierarchy"), "{refused}");
    let mut tpm = tpm.with_endorsement_password(b"secret".to_vec());
    let produced = scene.produce(&mut tpm);
    scene.activate(&mut tpm, &produced);
    assert_eq!(scene.codes(&produced), []);
}

/// What tpm2-tools make is opened here, so that not only our own two halves agree.
#[test]
fn credentials_by_tpm2_tools_are_opened() {
    let Some(scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    let ak = Public::parse(&tpm.ak().unwrap()).unwrap();
    let at = |name: &str| scene.swtpm.folder().join(name);
    for kind in [EkKind::Rsa2048, EkKind::P256] {
        let ek = tpm.ek(kind).unwrap();
        std::fs::write(at("ek"), [&u16::try_from(ek.len()).unwrap().to_be_bytes()[..], &ek].concat()).unwrap();
        std::fs::write(at("secret"), [3; 20]).unwrap();
        let mut tool = Command::new("tpm2_makecredential");
        tool.args(["-T", "none", "-n", &hex::encode(ak.name)]).arg("-u").arg(at("ek"));
        let made = tool.arg("-s").arg(at("secret")).arg("-o").arg(at("credential")).output().unwrap();
        assert!(made.status.success(), "{kind:?}: {}", String::from_utf8_lossy(&made.stderr));
        // Eight bytes of the tool's own, then both parts, each behind its length.
        let file = std::fs::read(at("credential")).unwrap();
        let mut r = Reader::new(&file[8..], "the credential");
        let blob = r.sized("the first part", 512).unwrap().to_vec();
        let secret = r.sized("the second part", 512).unwrap().to_vec();
        assert_eq!(tpm.activate(&Credential { blob, secret }).unwrap(), [3; 20], "{kind:?}");
    }
}

#[test]
fn the_authority_of_a_software_tpm_is_no_root_of_another_policy() {
    let Some(mut scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    scene.policy = policy(GOOGLE, &BTreeMap::new());
    let produced = scene.produce(&mut tpm);
    scene.activate(&mut tpm, &produced);
    let verdict = scene.verdict(&produced);
    assert_eq!(scene.codes(&produced), [Code::RootUnpinned]);
    assert_eq!(verdict.tier, Tier::L0);
}

/// What tpm2-tools say of a quote.
fn checkquote(scene: &Scene, evidence: &Evidence, qualifying: &[u8]) -> bool {
    let at = |name: &str| scene.swtpm.folder().join(name);
    let len = u16::try_from(evidence.ak.len()).unwrap().to_be_bytes();
    std::fs::write(at("ak"), [&len[..], &evidence.ak].concat()).unwrap();
    std::fs::write(at("quote"), &evidence.quote).unwrap();
    std::fs::write(at("signature"), &evidence.signature).unwrap();
    let mut tool = Command::new("tpm2_checkquote");
    tool.arg("-u").arg(at("ak")).arg("-m").arg(at("quote")).arg("-s").arg(at("signature"));
    tool.args(["-g", "sha256", "-q", &hex::encode(qualifying)]).output().unwrap().status.success()
}

#[test]
fn every_flipped_byte_is_refused_here_and_by_tpm2_tools() {
    for kind in [AkKind::P256, AkKind::Rsa2048] {
        let Some(mut scene) = Scene::new() else { return };
        let mut tpm = scene.swtpm.tpm().unwrap().with_ak(kind);
        let produced = scene.produce(&mut tpm);
        scene.activate(&mut tpm, &produced);
        let (evidence, qualifying) = (Evidence::decode(&produced.evidence).unwrap(), scene.binding().short());
        assert_eq!(scene.codes(&produced), []);
        assert!(checkquote(&scene, &evidence, &qualifying), "{kind:?}");
        for n in 0..evidence.quote.len() + evidence.signature.len() {
            let mut flipped = evidence.clone();
            match n.checked_sub(evidence.quote.len()) {
                None => flipped.quote[n] ^= 1,
                Some(n) => flipped.signature[n] ^= 1,
            }
            let codes = scene.codes(&Produced { evidence: flipped.encode(), ..produced.clone() });
            let known = [Code::EvidenceMalformed, Code::SignatureInvalid];
            assert!(matches!(&codes[..], [code] if known.contains(code)), "byte {n}: {codes:?}");
            // A process for each byte would take long: every seventh.
            assert!(n % 7 != 0 || !checkquote(&scene, &flipped, &qualifying), "byte {n}: tpm2-tools accept it");
        }
    }
}

#[test]
fn an_attestation_key_that_a_cloud_has_certified_needs_no_activation() {
    let Some(mut scene) = Scene::new() else { return };
    let mut tpm = scene.swtpm.tpm().unwrap();
    let key = Public::parse(&tpm.ak().unwrap()).unwrap().key;
    let cloud = Cloud::new();
    let leaf = cloud.certify(&key, AK_PURPOSE);
    let padded = [&leaf[..], &[0xff; 600]].concat();
    // Google's, readable by anybody, and Azure's, by the owner alone.
    tpm.store(0x01c1_0003, &Tpm::ak_template(AkKind::P256), true).unwrap();
    tpm.store(0x01c1_0002, &padded, true).unwrap();
    tpm.keep_ak(0x8100_0003).unwrap();
    tpm.store(0x01c1_01d0, &padded, false).unwrap();
    scene.policy = policy(&hex::encode(Sha256::digest(cloud.root())), &BTreeMap::new());
    let qualifying = scene.binding().short();
    for kind in [AkKind::GoogleP256, AkKind::Azure] {
        tpm = tpm.with_ak(kind);
        assert_eq!(Public::parse(&tpm.ak().unwrap()).unwrap().key, key, "{kind:?}");
        let mut produced = tpm.produce(&REGISTERS, &qualifying, None, None, cloud.issuers()).unwrap();
        assert_eq!(produced.endorsements[0], leaf, "{kind:?}");
        let verdict = scene.verdict(&produced);
        assert_eq!((verdict.tier, &verdict.reasons[..]), (Tier::L1, &[][..]), "{kind:?}");
        assert_eq!(verdict.activation, None, "{kind:?}");
        assert!(verdict.claims.contains_key("ak-certificate"));
        // The same authority's certificate of another key is not one of an endorsement key.
        let other = Public::parse(&tpm.ek(EkKind::P256).unwrap()).unwrap().key;
        for (purpose, code) in [(AK_PURPOSE, Code::ChainInvalid), (EK_PURPOSE, Code::ActivationMissing)] {
            produced.endorsements[0] = cloud.certify(&other, purpose);
            assert_eq!(scene.codes(&produced), [code], "{kind:?} {purpose}");
        }
    }
    let mut none = tpm.with_ak(AkKind::GoogleRsa2048);
    assert!(matches!(none.ak(), Err(TpmError::NoCertificate { index: 0x01c1_0001, .. })));
}
