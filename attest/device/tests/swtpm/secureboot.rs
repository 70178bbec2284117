//! A log of Secure Boot beside a quote of the register that it leads to.

use std::collections::BTreeMap;

use eider_attest::{Code, Tier};
use eider_attest_device::Tpm;
use sha2::{Digest, Sha256};

use crate::scene::{REGISTERS, Scene, policy_with};

/// `UEFI_VARIABLE_DATA`, under the GUID of Secure Boot's settings or of its databases.
fn variable(vendor: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lengths = [name.len() as u64, value.len() as u64].map(u64::to_le_bytes).concat();
    [hex::decode(vendor).unwrap(), lengths, utf16, value.to_vec()].concat()
}

/// A crypto-agile log of register 7, whose events are kind and bytes.
fn log(events: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let header = [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]].concat();
    let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &sized(&header)].concat();
    for (kind, data) in events {
        log.extend([7_u32, *kind, 1].map(u32::to_le_bytes).concat());
        log.extend([&[0x0b, 0][..], &Sha256::digest(data), &sized(data)].concat());
    }
    log
}

#[test]
fn a_tpm_and_its_log_show_secure_boot_and_who_has_signed() {
    let Some(mut scene) = Scene::new() else { return };
    let (global, databases) = ("61dfe48bca93d211aa0d00e098032b8c", "cbb219d73a3d9645a3bcdad00e67656f");
    let certificate = [0x30, 0x82, 0, 1, 7];
    let mut events = vec![
        (0x8000_0001, variable(global, "SecureBoot", &[1])),
        (0x8000_0001, variable(databases, "db", b"allowed")),
        (4, vec![0; 4]),
        (0x8000_00e0, variable(databases, "db", &[&[7; 16][..], &certificate].concat())),
    ];
    let mut tpm = scene.swtpm.tpm().unwrap();
    let extend = |tpm: &mut Tpm, data: &[u8]| tpm.extend(7, &Sha256::digest(data).into()).unwrap();
    events.iter().for_each(|(_, data)| extend(&mut tpm, data));
    let known = hex::encode(Sha256::digest(certificate));
    let lines = format!("secure_boot = true\nsigners = [{{ value = \"{known}\", from = \"the test\" }}]\n");
    let issuers = scene.swtpm.issuers().unwrap();
    let root = hex::encode(Sha256::digest(issuers.last().unwrap()));
    scene.policy = policy_with(&lines, &root, &BTreeMap::new());
    let qualifying = scene.binding().short();
    let produce = |tpm: &mut Tpm, log| tpm.produce(&REGISTERS, &qualifying, log, None, issuers.clone()).unwrap();
    let produced = produce(&mut tpm, Some(log(&events)));
    scene.activate(&mut tpm, &produced);
    let verdict = scene.verdict(&produced);
    assert_eq!((verdict.tier, &verdict.reasons[..]), (Tier::L1, &[][..]));
    assert_eq!(verdict.claims["signers"], format!("db={known}"));
    assert_eq!(scene.codes(&produce(&mut tpm, None)), [Code::LogMissing]);
    // A key that the owner has enrolled has signed the kernel.
    events.push((0x8000_00e0, variable(databases, "MokList", b"another certificate")));
    extend(&mut tpm, &events[4].1);
    assert_eq!(scene.codes(&produce(&mut tpm, Some(log(&events)))), [Code::SignerUnknown]);
    assert_eq!(scene.codes(&produce(&mut tpm, Some(log(&events[..4])))), [Code::LogMismatch]);
}
