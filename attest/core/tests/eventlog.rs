//! Genuine event logs lead to the registers that their sources have read or published.
#![allow(clippy::unwrap_used)]

mod common;

use common::{base64, file, vectors};
use eider_attest::tpm2::eventlog;
use serde_json::Value;

/// SHA-256 registers that the log's source publishes beside it (google/go-tpm-tools, server/eventlog_test.go).
const RHEL8: [(u8, &str); 11] = [
    (0, "24af52a4f429b71a3184a6d64cddad17e54ea030e2aa6576bf3a5a3d8bd3328f"),
    (1, "454220afaa80c83c3839f6cccd8b3c88bf4f562316a9dda1121c578c9e005a53"),
    (2, "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"),
    (3, "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"),
    (4, "758a3d35f1b0ff5b135dacd07db0c8132c0ac665d944090d4bf96e66447a245c"),
    (5, "53d0ee36163219201e686167bbb71ec505b3ba2917b9d9183ed84aad26cfeb89"),
    (6, "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"),
    (7, "5fd54361d580eb7592adb8deb236ff35444ceeac7148f24b3de63c041f12b3da"),
    (8, "25c3874041ebd4e9a21b6ed71b624a7bfa99907a8dcea7f129a4c64cbaf5829a"),
    (9, "d43b2f61eb18b4791812ff5f20ab20e4ef621ba683370bedf5dbdf518b3a8078"),
    (14, "d8f57ebcc1a23cc46832696e1a657f720e1be8f5b405bb7204682114e363b455"),
];

#[test]
fn logs_replay_to_published_registers() {
    let Some(folder) = vectors("eventlog") else { return };
    let replay = |name| eventlog::replay(&file(&folder, name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let rhel = replay("gtt_rhel8-uefi.bin");
    let found: Vec<_> = rhel.sha256.iter().map(|(n, v)| (*n, hex::encode(v))).collect();
    assert_eq!(found, RHEL8.map(|(n, v)| (n, v.to_string())));
    assert_eq!(hex::encode(rhel.sha1[&0]), "0f2d3a2a1adaa479aeeca8f5df76aadc41b862ea");
    // A workstation.
    let arch = replay("gtt_arch-linux-workstation.bin");
    assert_eq!(hex::encode(arch.sha256[&0]), "758b773d94feabf52ef5a4c00a7ad2c80d8d6e6d9d58756150be9bc973da9087");
    assert_eq!(hex::encode(arch.sha256[&8]), "47591b43af431963eaeb5238a5c42eda1eb0014c27f7de7ae483066a2d2a2e61");
    // Of the form of TPM 1.2: SHA-1 alone.
    let debian = replay("gtt_debian-10.bin");
    assert!(!debian.has_sha256 && debian.sha256.is_empty());
    assert_eq!(hex::encode(debian.sha1[&7]), "9e6c57e850f371c2a7fe02bca552149363952318");
    assert!(replay("gtt_ubuntu-2404-amd-sevsnp.bin").has_sha256);
    assert!(replay("goatt_crypto_agile_eventlog").events > 10);
}

#[test]
fn a_windows_log_of_the_old_form_leads_to_its_registers() {
    let Some(tpm) = vectors("tpm") else { return };
    let log =
        serde_json::from_slice::<Value>(&file(&tpm, "goatt_windows_gcp_shielded_vm.json")).unwrap()["Log"].clone();
    let replay = eventlog::replay(&base64(log["Raw"].as_str().unwrap())).unwrap();
    for register in log["PCRs"].as_array().unwrap() {
        let index = register["Index"].as_u64().unwrap() as u8;
        let Some(value) = replay.sha1.get(&index) else { continue };
        assert_eq!(value[..], base64(register["Digest"].as_str().unwrap()), "register {index}");
    }
    assert!(replay.sha1.len() > 5);
}

#[test]
fn no_truncated_or_damaged_log_panics() {
    let Some(folder) = vectors("eventlog") else { return };
    for name in ["gtt_arch-linux-workstation.bin", "goatt_crypto_agile_eventlog"] {
        let log = file(&folder, name);
        for n in 0..log.len() {
            let _ = eventlog::replay(&log[..n]);
        }
        let mut damaged = log.clone();
        for n in (0..log.len()).step_by(3) {
            damaged[n] ^= 0xff;
            let _ = eventlog::replay(&damaged);
            damaged[n] ^= 0xff;
        }
    }
    assert!(eventlog::replay(&vec![0; eventlog::LOG_MAX + 1]).is_err());
}

/// An event of the old form.
fn event(register: u32, kind: u32, digest: [u8; 20], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    [&register.to_le_bytes()[..], &kind.to_le_bytes(), &digest, &len.to_le_bytes(), data].concat()
}

#[test]
fn the_startup_locality_is_what_register_0_begins_with() {
    let locality = event(0, 3, [0; 20], b"StartupLocality\0\x03");
    let measured = event(0, 8, [7; 20], b"CRTM");
    let replay = eventlog::replay(&[&locality[..], &measured].concat()).unwrap();
    let mut begin = [0; 20];
    begin[19] = 3;
    let wanted = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &[&begin[..], &[7; 20]].concat());
    assert_eq!(replay.sha1[&0][..], wanted.as_ref()[..]);
    assert_eq!((replay.locality, replay.events), (3, 2));
    assert!(eventlog::replay(&[&measured[..], &locality].concat()).is_err(), "after a measurement");
    assert!(eventlog::replay(&[&locality[..], &locality].concat()).is_err(), "twice");
    assert!(eventlog::replay(&event(24, 8, [7; 20], b"")).is_err(), "no such register");
}
