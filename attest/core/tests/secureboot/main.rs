//! What event logs show of Secure Boot: policies that want it accept a boot with it, and no other that passes for one.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod lab;

use std::collections::BTreeMap;

use common::{file, vectors};
use eider_attest::tpm2::{
    self,
    secureboot::{SecureBoot, SecureBootError, Signer, read},
};
use eider_attest::{Code, Findings, Status};
use lab::{
    ACTION, AUTHORITY, CONFIG, DATABASES, GLOBAL, Lab, Logged, NO_ACTION, OTHER, SHIM, boot, certificate, data, event,
    events, log, log_of, owned, register, separator, settings, variable,
};
use sha2::{Digest, Sha256};

const WANTED: &str = "secure_boot = true\n";

fn codes(findings: &Findings) -> Vec<Code> {
    findings.reasons.iter().map(|r| r.code).collect()
}

/// A policy's list of who may have signed.
fn signers(values: &[&[u8]]) -> String {
    let entry =
        |value: &&[u8]| format!("{{ value = \"{}\", from = \"the test\" }}", hex::encode(Sha256::digest(value)));
    format!("{WANTED}signers = [{}]\n", values.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// All that has signed [`boot`].
fn all() -> String {
    signers(&[&certificate(1), &certificate(2), &certificate(3), b"sbat,1,2023012900\n"])
}

/// The reasons against these events as the whole log, under these lines of a policy.
fn of(events: &[Logged], lines: &str) -> Vec<Code> {
    let lab = Lab::new();
    codes(&lab.judge(register(events), Some(log(events)), &lab.policy(lines)))
}

#[test]
fn a_boot_with_secure_boot_and_known_signers_is_accepted() {
    let lab = Lab::new();
    for lines in [WANTED, &all()] {
        let found = lab.judge(register(&boot()), Some(log(&boot())), &lab.policy(lines));
        assert_eq!(codes(&found), [], "{:?}", found.reasons);
        assert_eq!(found.vector.configuration, Status::Affirming);
        assert_eq!((&found.claims["secure-boot"][..], &found.claims["log-explains"][..]), ("on", "7"));
        let listed = ["db", "db", "SbatLevel", "Shim"];
        let named: Vec<_> = found.claims["signers"].split([' ', '=']).step_by(2).collect();
        assert_eq!(named, listed);
    }
    // Nobody asks, and nothing is said.
    let found = lab.judge(register(&boot()), Some(log(&boot())), &lab.policy(""));
    assert_eq!((codes(&found), found.vector.configuration), (vec![], Status::None));
    assert!(!found.claims.contains_key("secure-boot"));
}

#[test]
fn a_boot_without_secure_boot_is_refused() {
    let off = |value: &[u8]| [settings(value), vec![separator()]].concat();
    for value in [&[0][..], &[], &[2], &[1, 0]] {
        assert_eq!(of(&off(value), WANTED), [Code::SecureBootUnproven], "{value:?}");
    }
    let lab = Lab::new();
    let found = lab.judge(register(&off(&[0])), Some(log(&off(&[0]))), &lab.policy(WANTED));
    assert_eq!((&found.claims["secure-boot"][..], found.vector.configuration), ("off", Status::Warning));
    for missing in [0, 3] {
        let mut events = boot();
        events.remove(missing);
        assert_eq!(of(&events, WANTED), [Code::SecureBootUnproven], "without variable {missing}");
    }
    assert_eq!(of(&settings(&[1]), WANTED), [Code::SecureBootUnproven], "no separator");
    assert_eq!(of(&[], WANTED), [Code::SecureBootUnproven], "a register without events");
    for said in ["UEFI Debug Mode", "DMA Protection Disabled"] {
        let events = [vec![event(ACTION, said.as_bytes())], boot()].concat();
        let lab = Lab::new();
        let found = lab.judge(register(&events), Some(log(&events)), &lab.policy(WANTED));
        assert_eq!(codes(&found), [Code::SecureBootUnproven]);
        assert!(found.reasons[0].detail.contains(said), "{}", found.reasons[0]);
    }
}

#[test]
fn a_log_must_come_and_lead_to_the_quoted_register() {
    let lab = Lab::new();
    let policy = lab.policy(WANTED);
    let other = [boot(), vec![event(OTHER, b"later")]].concat();
    assert_eq!(codes(&lab.judge(register(&boot()), None, &policy)), [Code::LogMissing]);
    assert_eq!(codes(&lab.judge(register(&other), Some(log(&boot())), &policy)), [Code::LogMismatch]);
    // Nothing of register 7, and a register that is not what nothing leads to.
    assert_eq!(codes(&lab.judge(register(&boot()), Some(log(&[])), &policy)), [Code::SecureBootUnproven]);
}

#[test]
fn each_of_firmwares_registers_that_the_policy_wants_must_be_in_the_log() {
    let lab = Lab::new();
    let (four, own) = (vec![event(OTHER, b"boot loader")], vec![event(OTHER, b"what the worker has extended")]);
    let values = BTreeMap::from([(4, register(&four)), (7, register(&boot())), (10, [3; 32]), (16, register(&own))]);
    let of = |parts: &[(u32, &[Logged])], wanted: &[u8]| {
        let events = parts.iter().flat_map(|(register, events)| events.iter().map(|event| (*register, event.clone())));
        let log = log_of(&events.collect::<Vec<_>>());
        let found = lab.judge_all(&values, Some(log), &lab.wanting(wanted, "log = true\n")).0;
        found.reasons.iter().map(|r| (r.code, r.detail.split(':').next().unwrap().to_string())).collect::<Vec<_>>()
    };
    let missing = |registers: &[u8]| -> Vec<_> {
        registers.iter().map(|register| (Code::LogMismatch, format!("register {register}"))).collect()
    };
    assert_eq!(of(&[(4, &four), (7, &boot())], &[4, 7]), []);
    assert_eq!(of(&[(7, &boot())], &[4, 7]), missing(&[4]));
    assert_eq!(of(&[(16, &own)], &[4, 7]), missing(&[4, 7]), "one that the worker added explains no boot");
    assert_eq!(of(&[(16, &own)], &[4, 7, 16]), missing(&[4, 7]), "nor if the policy wants it too");
    assert_eq!(of(&[(4, &four), (7, &boot())], &[4, 7, 10]), [], "what is not firmware's is in other logs");
    assert_eq!(of(&[(7, &boot())], &[7]), [], "one that was quoted beside what is wanted");
    let none = (Code::LogMismatch, "the log leads to none of the quoted registers".to_string());
    assert_eq!(of(&[], &[4, 7]), [none]);
}

#[test]
fn a_credential_is_for_the_certificate_that_the_verdict_is_about_wherever_lists_stand() {
    let lab = Lab::new();
    let plain = lab.judge_all(&BTreeMap::from([(7, register(&boot()))]), None, &lab.policy(""));
    let lists = lab.with(&Lab::list());
    let (found, envelope) = lists.judge_all(&BTreeMap::from([(7, register(&boot()))]), None, &lists.policy(""));
    assert_eq!((codes(&plain.0), codes(&found)), (vec![], vec![]));
    let certificate = tpm2::leaf(&envelope).unwrap();
    assert_eq!(found.claims["ak-certificate"], hex::encode(Sha256::digest(certificate)));
    assert_eq!(Some(certificate), tpm2::leaf(&plain.1), "and not the list before it");
    assert!(tpm2::make_credential(certificate, &[0; 34], &[1; 32], &[5; tpm2::RANDOM]).is_ok());
}

/// A machine has booted without Secure Boot. Its owner can extend the register further, and write any log that leads to it.
#[test]
fn a_boot_without_secure_boot_cannot_be_told_as_one_with_it() {
    let real = [settings(&[0]), vec![separator()]].concat();
    let wish = [settings(&[1]), vec![separator()]].concat();
    let later = [real.clone(), wish.clone()].concat();
    assert_eq!(of(&later, WANTED), [Code::SecureBootUnproven], "what is extended later comes too late");
    // The real event under another kind, with other bytes, or as one of another register's; then the wished one.
    for (kind, said) in [
        (OTHER, data(GLOBAL, "SecureBoot", &[0])),
        (AUTHORITY, data(GLOBAL, "SecureBoot", &[0])),
        (CONFIG, data(GLOBAL, "SecureBoot", &[1])),
        (OTHER, b"grub".to_vec()),
        (4, vec![0; 4]),
    ] {
        let mut told = later.clone();
        (told[0].kind, told[0].said) = (kind, said);
        let found = of(&told, WANTED);
        assert!(matches!(found[..], [Code::LogMismatch | Code::SecureBootUnproven]), "{found:?}");
    }
    // Events that no register holds, beside the real ones.
    let lab = Lab::new();
    let judge = |told: &[Logged]| codes(&lab.judge(register(&real), Some(log(told)), &lab.policy(WANTED)));
    assert_eq!(judge(&later), [Code::LogMismatch]);
    let only_told = event(NO_ACTION, &data(GLOBAL, "SecureBoot", &[1]));
    assert_eq!(judge(&[vec![only_told], real.clone()].concat()), [Code::SecureBootUnproven]);
    // Twice before the separator, whichever comes first.
    for values in [[[0], [1]], [[1], [0]], [[1], [1]]] {
        let [one, two] = values.map(|value| variable(CONFIG, GLOBAL, "SecureBoot", &value));
        assert_eq!(of(&[vec![one, two], boot().split_off(1)].concat(), WANTED), [Code::SecureBootUnproven]);
    }
}

#[test]
fn no_byte_that_firmware_measured_can_be_told_otherwise() {
    let lab = Lab::new();
    let policy = lab.policy(&all());
    for at in 0..boot().len() {
        for byte in 0..boot()[at].said.len() {
            let mut told = boot();
            told[at].said[byte] ^= 1;
            let found = codes(&lab.judge(register(&boot()), Some(log(&told)), &policy));
            let is_before = at < 7;
            assert_eq!(
                found,
                [if is_before { Code::LogMismatch } else { Code::SignerUnknown }],
                "event {at}, byte {byte}"
            );
        }
    }
}

#[test]
fn whoever_is_not_listed_has_not_signed_what_was_started() {
    let values: [&[u8]; 4] = [&certificate(1), &certificate(2), &certificate(3), b"sbat,1,2023012900\n"];
    assert_eq!(of(&boot(), &signers(&values)), []);
    for missing in 0..values.len() {
        let some: Vec<&[u8]> = (0..values.len()).filter(|n| *n != missing).map(|n| values[n]).collect();
        assert_eq!(of(&boot(), &signers(&some)), [Code::SignerUnknown], "{missing}");
    }
    let with = |event: Logged| of(&[boot(), vec![event]].concat(), &all());
    assert_eq!(with(variable(AUTHORITY, SHIM, "MokSBState", &[1])), [Code::SignerUnknown], "shim checks nothing");
    assert_eq!(with(variable(AUTHORITY, SHIM, "MokList", &certificate(9))), [Code::SignerUnknown], "the owner's key");
    assert_eq!(with(variable(CONFIG, SHIM, "MokList", &certificate(9))), [Code::SignerUnknown], "under another kind");
    assert_eq!(with(event(OTHER, b"anything")), [Code::SignerUnknown], "no variable");
    let hidden = Logged { kind: OTHER, measured: data(SHIM, "MokList", &certificate(9)), said: vec![] };
    assert_eq!(with(hidden.clone()), [Code::SignerUnknown], "with other bytes");
    assert_eq!(with(variable(AUTHORITY, SHIM, "Shim", &certificate(3))), [], "a known one again");
    // Without a list nobody looks at what comes after the separator.
    assert_eq!(of(&[boot(), vec![hidden]].concat(), WANTED), []);
    // Nobody has signed anything.
    assert_eq!(of(&[settings(&[1]), vec![separator()]].concat(), &all()), [Code::SignerUnknown]);
}

#[test]
fn the_signer_of_a_driver_cannot_pass_for_a_setting() {
    let entry = |kind| variable(kind, DATABASES, "db", &owned(&certificate(9)));
    let with = |before: Vec<Logged>| [before, boot().split_off(5)].concat();
    assert_eq!(of(&with([settings(&[1]), vec![entry(AUTHORITY)]].concat()), &all()), [Code::SignerUnknown]);
    assert_eq!(of(&with([settings(&[1]), vec![entry(CONFIG)]].concat()), &all()), [Code::SecureBootUnproven], "twice");
    // The list under the name of a signer, so that the signer is the list.
    let mut swapped = settings(&[1]);
    swapped[3].kind = AUTHORITY;
    assert_eq!(of(&with([swapped, vec![entry(CONFIG)]].concat()), &all()), [Code::SignerUnknown]);
}

#[test]
fn many_signers_and_damaged_variables_are_refused() {
    let many = (0..40).map(|n| variable(AUTHORITY, DATABASES, "db", &owned(&certificate(n))));
    let many = [settings(&[1]), vec![separator()], many.collect()].concat();
    assert_eq!(read(&events(&log(&many))), Err(SecureBootError::TooMany));
    let whole = data(GLOBAL, "SecureBoot", &[1]);
    for n in 0..whole.len() {
        let cut = [vec![event(CONFIG, &whole[..n])], boot().split_off(1)].concat();
        assert!(matches!(read(&events(&log(&cut))), Err(SecureBootError::NoVariable { event: 1, .. })), "{n}");
    }
    for (at, value) in [(16, 0), (16, 65), (23, 0xff), (24, 2), (31, 0xff), (33, 1), (32, b'\n')] {
        let mut damaged = whole.clone();
        damaged[at] = value;
        let events = [vec![event(CONFIG, &damaged)], boot().split_off(1)].concat();
        assert!(read(&lab::events(&log(&events))).is_err(), "{at} {value}");
    }
}

#[test]
fn genuine_logs_say_whether_secure_boot_was_on_and_who_has_signed() {
    let Some(folder) = vectors("eventlog") else { return };
    let of = |name: &str| read(&events(&file(&folder, name)));
    let signer = |variable: &str, sha256: &str| Signer {
        variable: variable.into(),
        sha256: hex::decode(sha256).unwrap().try_into().unwrap(),
    };
    let signers = vec![
        // Microsoft Corporation UEFI CA 2011, by the fingerprint that is published everywhere.
        signer("db", "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507"),
        // Red Hat's, in its shim.
        signer("Shim", "40175d4c7c5ab4bd753a493f47952f1d8dcf1c219b836968a693e48bd4766135"),
    ];
    assert_eq!(of("gtt_rhel8-uefi.bin"), Ok(SecureBoot { is_on: true, signers, unread: None }));
    for name in ["gtt_arch-linux-workstation.bin", "gtt_ubuntu-2404-amd-sevsnp.bin", "goatt_crypto_agile_eventlog"] {
        assert!(!of(name).unwrap().is_on, "{name}");
    }
    // Of the form of TPM 1.2: nothing that a SHA-256 register holds.
    assert_eq!(of("gtt_debian-10.bin"), Err(SecureBootError::NoSeparator));
}
