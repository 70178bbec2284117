//! What genuine evidence cannot show: certificates of other chips, revoked ones, and evidence for our own bindings.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/lab.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};

use common::{codes, envelope, floor, given, policy};
use eider_attest::{
    Appraisal, AttestPolicy, Binding, Code, Envelope, EvidenceKind, Expected, Findings, Issued, Status, Tier, Worth,
    appraise, snp, stapled,
};
use eider_protocol::{Hash, Identity, NodeId, OfferId};
use lab::{INTERMEDIATE, Lab, Leaf, NOW};

const ANY: &str = "any_measurement = true";
const CHIP: [u8; 64] = [0xc1; 64];
/// Boot loader 4, TEE 1, SNP 20, microcode 200.
const TCB: [u8; 8] = [4, 1, 0, 0, 0, 0, 20, 200];
/// FMC 1, boot loader 4, TEE 2, SNP 20, microcode 200.
const TURIN_TCB: [u8; 8] = [1, 4, 2, 20, 0, 0, 0, 200];
/// Bits of the report's flags that say VLEK.
const BY_VLEK: &[u8] = &[0x04];

fn number(n: u8) -> Vec<u8> {
    if n < 128 { vec![2, 1, n] } else { vec![2, 2, 0, n] }
}

/// Extensions for the security versions.
fn versions(boot_loader: u8, tee: u8, snp: u8, microcode: u8) -> Vec<(&'static [u64], Vec<u8>)> {
    vec![(&[3, 1], number(boot_loader)), (&[3, 2], number(tee)), (&[3, 3], number(snp)), (&[3, 8], number(microcode))]
}

/// The extension that names a product.
fn product(name: &str) -> Vec<(&'static [u64], Vec<u8>)> {
    vec![(&[2], [&[0x16, name.len() as u8], name.as_bytes()].concat())]
}

fn vcek(lab: &Lab, chip: &[u8]) -> Leaf {
    lab.leaf(&[product("Genoa-B1"), versions(4, 1, 20, 200), vec![(&[4], chip.to_vec())]].concat())
}

/// FMC 1, boot loader 4, TEE 2, SNP 20, microcode 200.
fn turin(lab: &Lab, chip: &[u8]) -> Leaf {
    let own = vec![(&[4][..], chip.to_vec()), (&[3, 9], number(1))];
    lab.leaf(&[product("Turin"), versions(4, 2, 20, 200), own].concat())
}

fn verdict(lab: &Lab, leaf: &Leaf, fields: &[(usize, &[u8])], lines: &str) -> Vec<Code> {
    let policy = policy(EvidenceKind::SevSnp, lab.root(), lines);
    let endorsements = [vec![leaf.der.clone()], lab.issuers.clone()].concat();
    let envelope = envelope(EvidenceKind::SevSnp, leaf.report(fields), endorsements);
    let mut findings = Findings::default();
    let verdict = snp::verify(&[0; 64], &given(&envelope, &policy, NOW), &mut findings);
    codes(&verdict, &findings)
}

#[test]
fn only_documented_report_versions_are_read() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    for version in 0..=255 {
        let codes = verdict(&lab, &leaf, &[(0, &[version]), (0x180, &TCB), (0x1a0, &CHIP)], ANY);
        let expected = if [2, 3, 5].contains(&version) { vec![] } else { vec![Code::EvidenceMalformed] };
        assert_eq!(codes, expected, "version {version}");
    }
}

#[test]
fn a_vcek_is_of_the_chip_that_the_report_names() {
    let lab = Lab::new();
    let report: [(usize, &[u8]); 3] = [(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)];
    assert_eq!(verdict(&lab, &vcek(&lab, &CHIP), &report, ANY), []);
    let wrapped = [&[4, 64][..], &CHIP].concat();
    assert_eq!(verdict(&lab, &vcek(&lab, &wrapped), &report, ANY), []);
    for chip in [&[0xc2; 64][..], &[0xc1; 8], &[0xc1; 63], &[0xc1; 65], &[], &[4, 64]] {
        assert_eq!(verdict(&lab, &vcek(&lab, chip), &report, ANY), [Code::IdentityMismatch], "{chip:?}");
    }
    let masked = [(0, &[2][..]), (0x180, &TCB)];
    assert_eq!(verdict(&lab, &vcek(&lab, &CHIP), &masked, ANY), [Code::IdentityMismatch]);
    let without = lab.leaf(&[product("Genoa-B1"), versions(4, 1, 20, 200)].concat());
    assert_eq!(verdict(&lab, &without, &report, ANY), [Code::IdentityMismatch]);
}

#[test]
fn what_another_vendor_says_of_a_genuine_key_is_worth_nothing() {
    let (lab, liar) = (Lab::new(), Lab::new());
    let leaf = vcek(&lab, &CHIP);
    let extensions = [product("Genoa-B1"), versions(4, 1, 20, 200), vec![(&[4][..], CHIP.to_vec())]].concat();
    let report = leaf.report(&[(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP)]);
    let of = |vendor: &Lab, leaf: Vec<u8>| {
        let endorsements = [vec![leaf], vendor.issuers.clone(), vec![vendor.list(7, &[], GOOD)]].concat();
        let root = [common::root(lab.root())];
        let worth = Worth::of(&stapled(EvidenceKind::SevSnp, &report, &endorsements, &root, NOW));
        let policy = policy(EvidenceKind::SevSnp, lab.root(), ANY);
        let envelope = envelope(EvidenceKind::SevSnp, report.clone(), endorsements);
        let mut findings = Findings::default();
        let verdict = snp::verify(&[0; 64], &given(&envelope, &policy, NOW), &mut findings);
        (worth, codes(&verdict, &findings))
    };
    assert_eq!(of(&lab, leaf.der.clone()), (Worth::Whole, vec![]));
    assert_eq!(of(&liar, liar.certify(&leaf, &extensions)), (Worth::Nothing, vec![Code::RootUnpinned]));
}

#[test]
fn a_vlek_names_no_chip_and_the_report_says_so() {
    let lab = Lab::new();
    let vlek = lab.leaf(&[product("Genoa"), versions(4, 1, 20, 200), vec![(&[5], b"\x16\x03lab".to_vec())]].concat());
    let report: [(usize, &[u8]); 3] = [(0, &[3]), (0x48, BY_VLEK), (0x180, &TCB)];
    assert_eq!(verdict(&lab, &vlek, &report, ANY), []);
    assert_eq!(verdict(&lab, &vlek, &[(0, &[3]), (0x180, &TCB)], ANY), [Code::IdentityMismatch]);
    let by_vlek: [(usize, &[u8]); 4] = [(0, &[3]), (0x48, BY_VLEK), (0x180, &TCB), (0x1a0, &CHIP)];
    assert_eq!(verdict(&lab, &vcek(&lab, &CHIP), &by_vlek, ANY), [Code::IdentityMismatch]);
    let by_none: [(usize, &[u8]); 4] = [(0, &[3]), (0x48, &[0x1c]), (0x180, &TCB), (0x1a0, &CHIP)];
    assert_eq!(verdict(&lab, &vcek(&lab, &CHIP), &by_none, ANY), [Code::IdentityMismatch]);
}

#[test]
fn a_certificate_is_for_the_versions_that_the_report_names() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    for (at, least) in [(0, [5, 0, 0, 0]), (1, [0, 2, 0, 0]), (6, [0, 0, 21, 0]), (7, [0, 0, 0, 201])] {
        let mut tcb = TCB;
        tcb[at] += 1;
        let report: [(usize, &[u8]); 3] = [(0, &[2]), (0x180, &tcb), (0x1a0, &CHIP)];
        assert_eq!(verdict(&lab, &leaf, &report, ANY), [Code::IdentityMismatch], "{at}");
        let report: [(usize, &[u8]); 3] = [(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)];
        assert_eq!(
            verdict(&lab, &leaf, &report, &(ANY.to_string() + &floor("genoa", &least))),
            [Code::TcbTooOld],
            "{at}"
        );
    }
}

#[test]
fn turins_versions_are_in_other_places() {
    let lab = Lab::new();
    let chip = [0x1e; 8];
    let leaf = turin(&lab, &chip);
    let report: [(usize, &[u8]); 4] = [(0, &[3]), (0x180, &TURIN_TCB), (0x1a0, &chip), (0x188, &[0x1a, 2, 1])];
    let with = |least: &[u8]| verdict(&lab, &leaf, &report, &(ANY.to_string() + &floor("turin", least)));
    assert_eq!(with(&[4, 2, 20, 200, 1]), []);
    for least in [[5, 0, 0, 0, 0], [0, 3, 0, 0, 0], [0, 0, 21, 0, 0], [0, 0, 0, 201, 0], [0, 0, 0, 0, 2]] {
        assert_eq!(with(&least), [Code::TcbTooOld], "{least:?}");
    }
    for at in [0, 1, 2, 3, 7] {
        let mut tcb = TURIN_TCB;
        tcb[at] += 1;
        let report: [(usize, &[u8]); 4] = [(0, &[3]), (0x180, &tcb), (0x1a0, &chip), (0x188, &[0x1a, 2, 1])];
        assert_eq!(verdict(&lab, &leaf, &report, ANY), [Code::IdentityMismatch], "{at}");
    }
    let known = |id: &[u8]| format!("{ANY}\nchips = [{{ value = \"{}\", from = \"the test\" }}]", hex::encode(id));
    assert_eq!(verdict(&lab, &leaf, &report, &known(&chip)), [], "eight bytes");
    assert_eq!(verdict(&lab, &leaf, &report, &known(&[0x1f; 8])), [Code::MachineUnknown]);
}

#[test]
fn each_product_has_its_own_floor() {
    let lab = Lab::new();
    let chip = [0x1e; 8];
    let dense: [(usize, &[u8]); 4] = [(0, &[3]), (0x180, &TURIN_TCB), (0x1a0, &chip), (0x188, &[0x1a, 0x11, 0])];
    for (name, cpuid, of) in [
        ("Milan-B0", [0x19, 1, 1], "milan"),
        ("Milan-B0", [0x19, 1, 2], "milan-x"),
        ("Genoa-B1", [0x19, 0x11, 1], "genoa"),
        ("Genoa", [0x19, 0x11, 2], "genoa-x"),
        ("Genoa", [0x19, 0xa0, 2], "bergamo"),
    ] {
        let leaf = lab.leaf(&[product(name), versions(4, 1, 20, 200), vec![(&[4], CHIP.to_vec())]].concat());
        let report: [(usize, &[u8]); 4] = [(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP), (0x188, &cpuid)];
        let with = |product: &str, microcode: u8| {
            verdict(&lab, &leaf, &report, &(ANY.to_string() + &floor(product, &[0, 0, 0, microcode])))
        };
        assert_eq!(with(of, 200), [], "{of}");
        assert_eq!(with(of, 201), [Code::TcbTooOld], "{of}");
        for other in ["milan", "milan-x", "genoa", "genoa-x", "bergamo"] {
            assert_eq!(with(other, 0), if other == of { vec![] } else { vec![Code::ProductRefused] }, "{of} {other}");
        }
    }
    let leaf = turin(&lab, &chip);
    let with = |of: &str| verdict(&lab, &leaf, &dense, &(ANY.to_string() + &floor(of, &[0; 5])));
    assert_eq!(with("turin-dense"), []);
    assert_eq!(with("turin"), [Code::ProductRefused]);
    // A certificate and a report of different products, one that is not known yet, and none.
    for (name, expected) in [("Turin", Code::ProductRefused), ("Venice", Code::ProductRefused)] {
        let leaf = lab.leaf(&[product(name), versions(4, 1, 20, 200), vec![(&[4], CHIP.to_vec())]].concat());
        let report: [(usize, &[u8]); 3] = [(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP)];
        assert_eq!(verdict(&lab, &leaf, &report, ANY), [expected], "{name}");
    }
    let leaf = lab.leaf(&[versions(4, 1, 20, 200), vec![(&[4], CHIP.to_vec())]].concat());
    let report: [(usize, &[u8]); 3] = [(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP)];
    assert_eq!(verdict(&lab, &leaf, &report, ANY), [Code::IdentityMismatch]);
}

/// The shipped policy's floors decide as its comments say; its roots and measurements do not matter here.
#[test]
fn the_shipped_floors_accept_todays_firmware_and_no_milan() {
    let lab = Lab::new();
    // Its processors are those of sensitive.toml, which names a guest (test `shipped`).
    let text = include_str!("../../../policies/attest/internal.toml");
    let genoa = "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1";
    assert!(text.contains(genoa) && !text.contains("69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"));
    let root = hex::encode(ring::digest::digest(&ring::digest::SHA256, lab.root()));
    let text = text.replace(genoa, &root).replace("measurements = []", "any_measurement = true");
    let policy = AttestPolicy::parse(text.as_bytes()).unwrap();
    let judge = |name: &str, cpuid: [u8; 3], tcb: [u8; 8]| {
        let chip = if cpuid[0] == 0x1a { &CHIP[..8] } else { &CHIP[..] };
        let at = if cpuid[0] == 0x1a { [1, 2, 3, 7] } else { [0, 1, 6, 7] };
        let mut extensions = versions(tcb[at[0]], tcb[at[1]], tcb[at[2]], tcb[at[3]]);
        if cpuid[0] == 0x1a {
            extensions.push((&[3, 9], number(tcb[0])));
        }
        let leaf = lab.leaf(&[product(name), extensions, vec![(&[4], chip.to_vec())]].concat());
        let report = leaf.report(&[(0, &[3]), (0x180, &tcb), (0x1a0, chip), (0x188, &cpuid)]);
        let endorsements = [vec![leaf.der.clone()], lab.issuers.clone()].concat();
        let envelope = envelope(EvidenceKind::SevSnp, report, endorsements);
        let mut findings = Findings::default();
        let verdict = snp::verify(&[0; 64], &given(&envelope, &policy, NOW), &mut findings);
        codes(&verdict, &findings)
    };
    assert_eq!(judge("Turin", [0x1a, 2, 1], [1, 1, 1, 4, 0, 0, 0, 81]), []);
    assert_eq!(judge("Turin", [0x1a, 2, 1], [0, 1, 1, 4, 0, 0, 0, 81]), [Code::TcbTooOld], "FMC");
    assert_eq!(judge("Turin", [0x1a, 2, 1], [1, 1, 1, 3, 0, 0, 0, 81]), [Code::TcbTooOld]);
    assert_eq!(judge("Genoa-B1", [0x19, 0x11, 1], [10, 0, 0, 0, 0, 0, 27, 86]), []);
    assert_eq!(judge("Genoa-B1", [0x19, 0x11, 1], [10, 0, 0, 0, 0, 0, 23, 84]), [Code::TcbTooOld]);
    assert_eq!(judge("Genoa-B2", [0x19, 0x11, 2], [10, 0, 0, 0, 0, 0, 27, 81]), []);
    assert_eq!(judge("Genoa-A2", [0x19, 0xa0, 2], [10, 0, 0, 0, 0, 0, 27, 255]), [Code::ProductRefused]);
    assert_eq!(judge("Turin", [0x1a, 0x11, 0], [255; 8]), [Code::ProductRefused]);
    for snp in [22, 255] {
        assert_eq!(judge("Milan-B0", [0x19, 1, 1], [255, 255, 0, 0, 0, 0, snp, 255]), [Code::ProductRefused]);
    }
}

#[test]
fn firmware_that_can_be_rolled_back_or_launched_the_guest_too_old_is_refused() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    let tcb = |at: usize, by: i8| {
        let mut tcb = TCB;
        tcb[at] = tcb[at].wrapping_add_signed(by);
        tcb
    };
    let floor = ANY.to_string() + &floor("genoa", &[4, 1, 20, 200]);
    let with = |field: usize, value: [u8; 8]| {
        verdict(&lab, &leaf, &[(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP), (field, &value)], &floor)
    };
    for at in [0, 1, 6, 7] {
        assert_eq!(with(0x1e0, tcb(at, -1)), [Code::TcbTooOld], "committed, {at}");
        assert_eq!(with(0x1e0, tcb(at, 1)), [Code::TcbTooOld], "committed above what runs, {at}");
        assert_eq!(with(0x38, tcb(at, -1)), [Code::TcbTooOld], "current, {at}");
        assert_eq!(with(0x38, tcb(at, 1)), [], "newer firmware that is not committed, {at}");
        assert_eq!(with(0x1f0, tcb(at, -1)), [Code::TcbTooOld], "launch, {at}");
        assert_eq!(with(0x1f0, tcb(at, 1)), [], "{at}");
    }
}

#[test]
fn guest_policies_that_allow_a_migration_agent_or_the_unknown_are_refused() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    let with = |policy: u64, lines: &str| {
        let policy = policy.to_le_bytes();
        verdict(&lab, &leaf, &[(0, &[3]), (8, &policy), (0x180, &TCB), (0x1a0, &CHIP)], lines)
    };
    const ONE: u64 = 1 << 17;
    assert_eq!(with(ONE, ANY), []);
    assert_eq!(with(0, ANY), [Code::GuestPolicyRefused], "bit 17");
    assert_eq!(with(ONE | 1 << 18, ANY), [Code::GuestPolicyRefused], "migration agent");
    for bit in 0..64 {
        let expected = match bit {
            18 | 26.. => vec![Code::GuestPolicyRefused],
            19 => vec![Code::DebugEnabled],
            _ => vec![],
        };
        assert_eq!(with(ONE | 1 << bit, ANY), expected, "bit {bit}");
    }
    let strict = format!("{ANY}\nplatform = []");
    assert_eq!(with(ONE, &strict), []);
    assert_eq!(with(ONE | 1 << 16, &strict), [Code::PlatformRefused], "the guest may run beside another thread");
    assert_eq!(with(ONE | 1 << 16, &format!("{ANY}\nplatform = [\"smt\"]")), []);
    let on: [(usize, &[u8]); 5] = [(0, &[3]), (8, &[0, 0, 2]), (0x40, &[0x21]), (0x180, &TCB), (0x1a0, &CHIP)];
    assert_eq!(verdict(&lab, &leaf, &on, &strict), [Code::PlatformRefused], "the machine has it on");
}

#[test]
fn a_machine_whose_memory_was_not_found_free_of_aliases_is_refused_unless_the_policy_accepts_it() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    let with = |info: u8, words: &str| {
        let info = [info];
        let fields: [(usize, &[u8]); 4] = [(0, &[3]), (0x40, &info), (0x180, &TCB), (0x1a0, &CHIP)];
        verdict(&lab, &leaf, &fields, &format!("{ANY}\nplatform = [\"smt\"{words}]"))
    };
    for info in [0x20, 0x21, 0xff] {
        assert_eq!(with(info, ""), [], "{info:#x}");
    }
    for info in [0, 1, 0xdf] {
        assert_eq!(with(info, ""), [Code::PlatformRefused], "{info:#x}");
        assert_eq!(with(info, ", \"aliases-unchecked\""), [], "{info:#x}");
    }
}

#[test]
fn who_launched_the_guest_is_known_by_keys() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    let (id, author) = ([0x1d; 48], [0xa0; 48]);
    let keys =
        |name: &str, key: &[u8]| format!("\n{name} = [{{ value = \"{}\", from = \"the test\" }}]", hex::encode(key));
    let both = format!("{ANY}{}{}", keys("id_keys", &id), keys("author_keys", &author));
    let with = |flags: u8, lines: &str| {
        let flags = [flags];
        let fields: [(usize, &[u8]); 6] =
            [(0, &[3]), (0x48, &flags), (0x180, &TCB), (0x1a0, &CHIP), (0xe0, &id), (0x110, &author)];
        verdict(&lab, &leaf, &fields, lines)
    };
    assert_eq!(with(1, &both), []);
    assert_eq!(with(0, &both), [Code::LauncherUnknown], "the report says that no author has signed");
    assert_eq!(with(1, &format!("{ANY}{}", keys("author_keys", &id))), [Code::LauncherUnknown]);
    assert_eq!(with(1, &format!("{ANY}{}", keys("id_keys", &author))), [Code::LauncherUnknown]);
    assert_eq!(with(1, ANY), []);
    assert_eq!(verdict(&lab, &leaf, &[(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP)], &both), [Code::LauncherUnknown]);
}

#[test]
fn a_root_expires_too() {
    let lab = Lab::until(2025);
    let leaf = vcek(&lab, &CHIP);
    let report: [(usize, &[u8]); 3] = [(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)];
    assert_eq!(verdict(&lab, &leaf, &report, ANY), [Code::CertificateExpired]);
}

#[test]
fn a_chain_with_many_certificates_of_one_name_is_not_searched() {
    let mut lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    let report: [(usize, &[u8]); 3] = [(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)];
    lab.issuers.insert(0, Lab::new().issuers.remove(0));
    assert_eq!(verdict(&lab, &leaf, &report, ANY), [], "another key of the same name is passed over");
    lab.issuers.insert(0, Lab::new().issuers.remove(0));
    assert_eq!(verdict(&lab, &leaf, &report, ANY), [Code::ChainInvalid]);
}

/// The verdict with revocation lists, after others were seen.
fn with_lists(lab: &Lab, lists: &[Vec<u8>], lines: &str, seen: &BTreeMap<String, u64>) -> (Vec<Code>, Findings) {
    let (policy, leaf) = (policy(EvidenceKind::SevSnp, lab.root(), &format!("{ANY}\n{lines}")), vcek(lab, &CHIP));
    let endorsements = [vec![leaf.der.clone()], lab.issuers.clone(), lists.to_vec()].concat();
    let report = leaf.report(&[(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)]);
    let envelope = envelope(EvidenceKind::SevSnp, report, endorsements);
    let mut findings = Findings::default();
    let given = eider_attest::Given { seen, ..given(&envelope, &policy, NOW) };
    let verdict = snp::verify(&[0; 64], &given, &mut findings);
    (codes(&verdict, &findings), findings)
}

// NOW is the 19th of February 2025.
const GOOD: (u8, u8) = (1, 28);

#[test]
fn revoked_stale_and_forged_lists_are_told_apart() {
    let (lab, none) = (Lab::new(), BTreeMap::new());
    let codes = |lists: &[Vec<u8>]| with_lists(&lab, lists, "revocation = true", &none).0;
    assert_eq!(codes(&[lab.list(7, &[], GOOD)]), []);
    assert_eq!(codes(&[lab.list(7, &[&[9]], GOOD)]), []);
    assert_eq!(codes(&[lab.list(7, &[&[9], INTERMEDIATE], GOOD)]), [Code::CertificateRevoked]);
    assert_eq!(codes(&[]), [Code::CollateralMissing]);
    assert_eq!(codes(&[lab.list(7, &[], (1, 10))]), [Code::CollateralStale]);
    assert_eq!(codes(&[lab.list(7, &[], (20, 28))]), [Code::CollateralStale]);
    assert_eq!(codes(&[Lab::new().list(7, &[], GOOD)]), [Code::CollateralMissing, Code::CollateralInvalid]);
    assert_eq!(codes(&[lab.forged_list(7, GOOD)]), [Code::CollateralMissing, Code::CollateralInvalid]);
    let both = [lab.list(7, &[], GOOD), lab.leafs_list(7, GOOD)];
    assert_eq!(codes(&both), []);
    assert_eq!(codes(&both[1..]), [Code::CollateralMissing], "the list that the intermediate would be on");
    let silent = Lab::without_lists();
    let ended = with_lists(&silent, &[silent.list(7, &[], GOOD)], "revocation = true", &none).0;
    assert_eq!(ended, [Code::CollateralMissing, Code::CollateralInvalid], "its issuer must not sign any");
    let mut changed = lab.list(7, &[], GOOD);
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert_eq!(codes(&[changed.clone()]), [Code::CollateralMissing, Code::CollateralInvalid]);
    let optional = |lists: &[Vec<u8>]| with_lists(&lab, lists, "", &none).0;
    assert_eq!(optional(&[]), []);
    assert_eq!(optional(&[changed]), [Code::CollateralInvalid]);
    assert_eq!(optional(&[lab.list(7, &[INTERMEDIATE], GOOD)]), [Code::CertificateRevoked]);
    let both = [lab.list(7, &[], GOOD), lab.list(8, &[INTERMEDIATE], GOOD)];
    assert_eq!(optional(&both), [Code::CertificateRevoked], "one of two lists");
}

#[test]
fn a_lists_number_never_falls() {
    let lab = Lab::new();
    let (codes, findings) = with_lists(&lab, &[lab.list(7, &[], GOOD)], "", &BTreeMap::new());
    assert_eq!((codes, findings.collateral.len()), (vec![], 1));
    let seen = findings.collateral;
    assert!(seen.iter().all(|(key, number)| key.starts_with("crl:") && *number == 7));
    assert_eq!(findings.window.until, 1_740_700_800, "28 February 2025");
    assert_eq!(with_lists(&lab, &[lab.list(7, &[], GOOD)], "", &seen).0, []);
    assert_eq!(with_lists(&lab, &[lab.list(8, &[], GOOD)], "", &seen).0, []);
    let (codes, findings) = with_lists(&lab, &[lab.list(6, &[], GOOD)], "", &seen);
    assert_eq!((codes, findings.collateral), (vec![Code::CollateralRollback], seen.clone()));
    let (_, findings) = with_lists(&lab, &[lab.forged_list(u64::MAX, GOOD)], "", &seen);
    assert!(findings.collateral.is_empty(), "a forged list raises no number");
}

#[test]
fn damaged_lists_are_never_believed() {
    let (lab, none) = (Lab::new(), BTreeMap::new());
    let list = lab.list(7, &[&[9]], GOOD);
    for at in 0..list.len() {
        let mut flipped = list.clone();
        flipped[at] ^= 1 << (at % 8);
        for damaged in [flipped, list[..at].to_vec()] {
            let (codes, findings) = with_lists(&lab, &[damaged], "revocation = true", &none);
            assert!(!codes.is_empty() && findings.collateral.is_empty(), "byte {at}");
        }
    }
}

struct Parties {
    identity: Identity,
    policy: AttestPolicy,
    offer: Issued,
}

impl Parties {
    fn appraise(&self, bytes: &[u8], offer: Issued, sealing: [u8; 32], engine: Hash) -> Appraisal {
        let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
        let requester = NodeId::from_bytes([4; 32]);
        let node = self.identity.node_id();
        let (seen, activated) = (&seen, &activated);
        let expected = Expected {
            requester,
            node,
            sealing,
            engine,
            demanded: self.policy.hash(),
            offer,
            earlier: &[],
            seen,
            activated,
        };
        appraise(Some(bytes), &expected, NOW, &self.policy)
    }
}

#[test]
fn evidence_for_this_offer_is_l2_and_for_no_other() {
    let lab = Lab::new();
    let leaf = vcek(&lab, &CHIP);
    let measurement = [7; 48];
    let value = hex::encode(measurement);
    let lines = format!("measurements = [{{ register = \"measurement\", value = \"{value}\", from = \"the test\" }}]");
    let parties = Parties {
        identity: Identity::from_seed([9; 32]),
        policy: policy(EvidenceKind::SevSnp, lab.root(), &lines),
        offer: Issued { offer: OfferId::from_bytes([3; 32]), nonce: [1; 32], at: NOW },
    };
    let (sealing, engine) = ([2; 32], Hash::from_bytes([6; 32]));
    let binding = Binding {
        kind: EvidenceKind::SevSnp,
        nonce: parties.offer.nonce,
        requester: NodeId::from_bytes([4; 32]),
        offer: parties.offer.offer,
        node: parties.identity.node_id(),
        sealing,
        engine,
        policy: parties.policy.hash(),
    };
    let digest = binding.digest();
    let fields: [(usize, &[u8]); 5] = [(0, &[3]), (0x50, &digest), (0x90, &measurement), (0x180, &TCB), (0x1a0, &CHIP)];
    let endorsements = [vec![leaf.der.clone()], lab.issuers.clone()].concat();
    let envelope = envelope(EvidenceKind::SevSnp, leaf.report(&fields), endorsements);
    let bytes = envelope.sign(&parties.identity);
    let appraisal = parties.appraise(&bytes, parties.offer, sealing, engine);
    assert_eq!((appraisal.reasons, appraisal.tier), (vec![], Tier::L2));
    assert_eq!(appraisal.vector.executables, Status::Affirming);
    assert_eq!(appraisal.vector.instance_identity, Status::Affirming);

    let codes = |appraisal: Appraisal| {
        assert_eq!(appraisal.tier, Tier::L0);
        appraisal.reasons.into_iter().map(|r| r.code).collect::<Vec<_>>()
    };
    let other_engine = parties.appraise(&bytes, parties.offer, sealing, Hash::from_bytes([7; 32]));
    assert_eq!(codes(other_engine), [Code::BindingMismatch]);
    let other_offer = Issued { nonce: [8; 32], ..parties.offer };
    assert_eq!(codes(parties.appraise(&bytes, other_offer, sealing, engine)), [Code::NonceMismatch]);
    // A node that says it is for another offer has another digest than the report.
    let replayed = Envelope { nonce: [8; 32], ..envelope }.sign(&parties.identity);
    assert_eq!(codes(parties.appraise(&replayed, other_offer, sealing, engine)), [Code::BindingMismatch]);
}
