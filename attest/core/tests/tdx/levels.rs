//! What no genuine quote shows: platforms that are out of date or revoked, TDs under debugging, and a quote that proves L2.

use std::collections::{BTreeMap, BTreeSet};

use eider_attest::{Binding, Code, EvidenceKind, Expected, Issued, Status, Tier, appraise};
use eider_protocol::{Hash, Identity, OfferId};

use super::{
    judge::{Case, INTEL, Verdict},
    lab::{Lab, NOW, Vendor, serial},
};

fn accepting(case: &Case, line: &str, by: &str) -> Case {
    assert!(case.accept.contains(line));
    Case { accept: case.accept.replace(line, by), ..case.clone() }
}

fn with_status(case: &Case, status: &str) -> Verdict {
    accepting(case, "\"UpToDate\"", &format!("\"{status}\"")).judge()
}

#[test]
fn a_platform_that_nothing_is_wrong_with_is_proven() {
    let verdict = Lab::default().case().judge();
    verdict.proven();
    assert_eq!(verdict.findings.collateral["tdx-tcb:eeeeeeeeeeee"], 20);
    assert_eq!((verdict.findings.collateral["tdx-crl:root"], verdict.findings.collateral["tdx-crl:platform"]), (7, 7));
    assert_eq!(verdict.findings.vector.configuration, Status::Affirming);
}

#[test]
fn a_quote_bound_to_the_offer_proves_l2_for_that_offer_alone() {
    let (node, requester) = (Identity::from_seed([7; 32]), Identity::from_seed([8; 32]).node_id());
    let (vendor, mut lab) = (Vendor::new(), Lab::default());
    let policy = lab.case_of(&vendor).policy();
    let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
    let offer = Issued { offer: OfferId::from_bytes([3; 32]), nonce: [1; 32], at: NOW };
    let engine = Hash::from_bytes([6; 32]);
    let mut expected = Expected {
        requester,
        node: node.node_id(),
        sealing: [5; 32],
        engine,
        demanded: policy.hash(),
        offer,
        earlier: &[],
        seen: &seen,
        activated: &activated,
    };
    let binding = Binding {
        kind: EvidenceKind::Tdx,
        nonce: offer.nonce,
        requester,
        offer: offer.offer,
        node: node.node_id(),
        sealing: [5; 32],
        engine,
        policy: policy.hash(),
    };
    lab.report_data = binding.digest();
    let bytes = lab.case_of(&vendor).envelope().sign(&node);
    let appraisal = appraise(Some(&bytes), &expected, NOW, &policy);
    assert_eq!((appraisal.tier, appraisal.reasons), (Tier::L2, vec![]));
    expected.engine = Hash::from_bytes([7; 32]);
    let appraisal = appraise(Some(&bytes), &expected, NOW, &policy);
    assert_eq!(appraisal.tier, Tier::L0);
    assert_eq!(appraisal.reasons.iter().map(|r| r.code).collect::<Vec<_>>(), [Code::BindingMismatch]);
}

#[test]
fn an_outdated_platform_needs_its_status_in_the_policy() {
    let case = Lab { cpu: 3, ..Lab::default() }.case();
    let verdict = case.judge();
    let detail = verdict.only(Code::TcbStatus);
    for part in ["OutOfDate", "LAB-SA-00003", "2025-03-01", "CPU component 0: 3 of 4", "2026-03-01"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(verdict.findings.claims["advisories"], "LAB-SA-00003");
    assert_eq!(verdict.findings.collateral.len(), 4);
    with_status(&case, "OutOfDate").proven();
}

#[test]
fn an_advisory_may_be_denied_whatever_the_status() {
    let case = Lab { cpu: 3, ..Lab::default() }.case();
    let lines = "[\"OutOfDate\"]\ndeny_advisories = [\"lab-sa-00003\"]";
    let verdict = accepting(&case, "[\"UpToDate\"]", lines).judge();
    assert_eq!(verdict.only(Code::AdvisoryDenied), "LAB-SA-00003");
    let lines = "[\"OutOfDate\"]\ndeny_advisories = [\"LAB-SA-00002\"]";
    accepting(&case, "[\"UpToDate\"]", lines).judge().proven();
}

#[test]
fn modules_and_quoting_enclaves_may_be_outdated_too() {
    for (lab, part) in [
        (Lab { module: [4, 1], ..Lab::default() }, "TDX module: 4 of 5; LAB-SA-00040"),
        (Lab { qe: 7, ..Lab::default() }, "quoting enclave: 7 of 8"),
    ] {
        let case = lab.case();
        let verdict = case.judge();
        let detail = verdict.only(Code::TcbStatus);
        assert!(detail.starts_with("OutOfDate") && detail.contains(part), "{detail}");
        with_status(&case, "OutOfDate").proven();
    }
}

#[test]
fn revoked_is_refused_whatever_the_policy_says() {
    for (lab, part) in [
        (Lab { cpu: 2, ..Lab::default() }, "the platform; LAB-SA-00002"),
        (Lab { module: [3, 1], ..Lab::default() }, "the TDX module; LAB-SA-00030"),
        (Lab { qe: 6, ..Lab::default() }, "the quoting enclave"),
        (Lab { later: Some(([3, 1], 0)), ..Lab::default() }, "the TDX module; LAB-SA-00030"),
    ] {
        let case = lab.case();
        for status in ["UpToDate", "Revoked"] {
            let verdict = with_status(&case, status);
            let detail = verdict.only(Code::TcbStatus);
            assert!(detail.starts_with("Revoked") && detail.contains(part), "{detail}");
            assert_eq!(verdict.findings.vector.hardware, Status::Contraindicated);
        }
    }
}

#[test]
fn below_every_level_is_too_old() {
    for (lab, part) in [
        (Lab { cpu: 1, ..Lab::default() }, "CPU component 15: 1 of 2"),
        (Lab { pce: 4, ..Lab::default() }, "PCE: 4 of 5"),
        (Lab { module: [2, 1], ..Lab::default() }, "TDX module: 2 of 3"),
        (Lab { module: [9, 2], ..Lab::default() }, "no TDX module of version 2"),
        (Lab { qe: 5, ..Lab::default() }, "quoting enclave 5"),
    ] {
        let verdict = lab.case().judge();
        let detail = verdict.only(Code::TcbTooOld);
        assert!(detail.contains(part), "{detail}");
    }
}

#[test]
fn a_td_that_outlived_its_module_needs_that_status() {
    let case = Lab { module: [4, 1], later: Some(([5, 1], 0)), ..Lab::default() }.case();
    assert!(case.judge().only(Code::TcbStatus).starts_with("TDRelaunchAdvised"));
    with_status(&case, "TDRelaunchAdvised").proven();
    let case = Lab { later: Some(([4, 1], 0)), ..Lab::default() }.case();
    assert!(case.judge().only(Code::TcbStatus).starts_with("OutOfDate"));
}

#[test]
fn debugging_and_profiling_need_the_policys_leave() {
    for bit in [0, 4, 5, 6] {
        let case = Lab { attributes: 1 << 28 | 1 << bit, ..Lab::default() }.case();
        let verdict = case.judge();
        verdict.only(Code::DebugEnabled);
        assert_eq!(verdict.findings.vector.configuration, Status::Contraindicated);
        accepting(&case, "any_measurement", "debug = true\nany_measurement").judge().proven();
    }
}

#[test]
fn tds_that_migrate_or_are_served_are_refused() {
    let tdx_1_5 = |service| Lab { later: Some(([5, 1], service)), ..Lab::default() };
    tdx_1_5(0).case().judge().proven();
    for (lab, part) in [
        (tdx_1_5(1), "a service TD is bound"),
        (Lab { attributes: 0, ..Lab::default() }, "SEPT_VE_DISABLE is 0"),
        (Lab { attributes: 1 << 28 | 1 << 29, ..Lab::default() }, "MIGRATABLE is 1"),
        (Lab { attributes: 1 << 28 | 1 << 17, ..Lab::default() }, "a service TD is bound"),
        (Lab { attributes: 1 << 28 | 1 << 7, ..Lab::default() }, "reserved attributes"),
        (Lab { attributes: 1 << 28 | 1 << 40, ..Lab::default() }, "reserved attributes"),
    ] {
        let case = lab.case();
        let verdict = case.judge();
        assert!(verdict.only(Code::TdRefused).contains(part), "{:?}", verdict.reasons);
        accepting(&case, "any_measurement", "debug = true\nany_measurement").judge().only(Code::TdRefused);
    }
    // Several are told one by one, and nothing in the advice is of no use.
    let both = Lab { attributes: 1 << 29, ..tdx_1_5(1) }.case().judge();
    assert_eq!(both.codes(), [Code::TdRefused; 3]);
    assert!(!Code::TdRefused.advice().contains("accept it"));
}

#[test]
fn refused_attributes_do_not_hide_the_tcb() {
    let old = Lab { attributes: 0, cpu: 3, flags: [false, false, true], ..Lab::default() }.case();
    let verdict = old.judge();
    assert_eq!(verdict.codes(), [Code::PlatformRefused, Code::TdRefused, Code::TcbStatus]);
    assert!(verdict.reasons[2].detail.starts_with("OutOfDate, level of 2025-03-01"), "{:?}", verdict.reasons);
    assert_eq!(verdict.findings.claims["tcb-status"], "OutOfDate");
    assert_eq!(verdict.findings.collateral.len(), 4, "numbers are noted");
    let lines = "[\"OutOfDate\"]\ndeny_advisories = [\"LAB-SA-00003\"]";
    let denied = accepting(&old, "[\"UpToDate\"]", lines).judge();
    assert_eq!(denied.codes(), [Code::PlatformRefused, Code::TdRefused, Code::AdvisoryDenied]);
    let ancient = Lab { attributes: 0, cpu: 1, qe: 5, ..Lab::default() }.case().judge();
    assert_eq!(ancient.codes(), [Code::TdRefused, Code::TcbTooOld, Code::TcbTooOld]);
}

#[test]
fn the_tcb_of_a_refused_td_is_judged_as_that_of_any_other() {
    for cpu in [2, 3, 4] {
        for module in [[3, 1], [4, 1], [5, 1]] {
            for later in [None, Some(([3, 1], 0)), Some(([4, 1], 0)), Some(([5, 1], 0))] {
                for qe in [6, 7, 8] {
                    let lab = Lab { cpu, module, later, qe, ..Lab::default() };
                    let (free, refused) = (lab.case().judge(), Lab { attributes: 0, ..lab }.case().judge());
                    let rest: Vec<_> = refused.reasons.iter().filter(|r| r.code != Code::TdRefused).collect();
                    assert_eq!(rest, free.reasons.iter().collect::<Vec<_>>());
                    assert_eq!(refused.findings.claims, {
                        let mut claims = free.findings.claims;
                        claims.insert("attributes".into(), "00".repeat(8));
                        claims
                    });
                }
            }
        }
    }
}

#[test]
fn revoked_certificates_do_not_hide_the_tcb() {
    let mut lab = Lab { cpu: 3, ..Lab::default() };
    lab.revoked[1] = vec![serial::PCK];
    assert_eq!(lab.case().judge().codes(), [Code::CertificateRevoked, Code::TcbStatus]);
}

#[test]
fn a_root_that_is_not_pinned_hides_nothing_and_notes_nothing() {
    let case = Case { root: INTEL.into(), ..Lab { cpu: 3, ..Lab::default() }.case() };
    let verdict = case.judge();
    assert_eq!(verdict.codes(), [Code::RootUnpinned, Code::TcbStatus]);
    assert!(verdict.findings.collateral.is_empty(), "anybody can make numbers under a root of one's own");
}

#[test]
fn a_damaged_intermediate_is_a_broken_chain_whatever_the_tcb() {
    for (vendor, lab) in [
        (Vendor::with_intermediate(false), Lab::default()),
        (Vendor::new(), Lab { wrong_signer: true, ..Lab::default() }),
    ] {
        assert_eq!(lab.case_of(&vendor).judge().codes(), [Code::ChainInvalid]);
        let old = Lab { cpu: 1, ..lab.clone() }.case_of(&vendor).judge();
        assert_eq!(old.codes(), [Code::TcbTooOld, Code::ChainInvalid]);
        assert!(old.findings.collateral.is_empty());
        let outdated = Lab { cpu: 3, attributes: 0, ..lab }.case_of(&vendor).judge();
        assert_eq!(outdated.codes(), [Code::TdRefused, Code::TcbStatus, Code::ChainInvalid]);
    }
}

#[test]
fn another_number_of_bytes_of_the_quoting_enclave_is_named() {
    for bytes in [0, 1, 16, 31, 33, 64, 1000] {
        let lab = Lab { qe_auth: bytes, cpu: 3, ..Lab::default() };
        let verdict = lab.case().judge();
        assert_eq!(verdict.codes(), [Code::TdRefused, Code::TcbStatus], "{bytes}: {:?}", verdict.reasons);
        assert!(verdict.reasons[0].detail.contains(&format!("adds {bytes} bytes")), "{:?}", verdict.reasons);
        // They are in what the quoting enclave's report names.
        let mut case = lab.case();
        let at = 48 + 584 + 4 + 128 + 6 + 384 + 64 + 2;
        case.quote[at] ^= u8::from(bytes > 0);
        assert_eq!(case.judge().codes().contains(&Code::SignatureInvalid), bytes > 0);
    }
}

#[test]
fn registers_of_an_image_hold_together() {
    // The laboratory's registers hold their own number: MRTD 0, RTMRs 4 to 7.
    let image = |name: &str, registers: &[(&str, u8)]| {
        let all: Vec<_> = registers.iter().map(|(r, v)| format!("{r} = \"{}\"", hex::encode([*v; 48]))).collect();
        format!("[[tdx.images]]\nname = \"{name}\"\nfrom = \"test\"\nregisters = {{ {} }}\n", all.join(", "))
    };
    let case = Lab::default().case();
    let with = |lines: String| accepting(&case, "any_measurement = true", "").with_lines(&lines).judge();
    let good = image("good", &[("mrtd", 0), ("rtmr1", 5), ("rtmr2", 6)]);
    let other = image("other", &[("mrtd", 1), ("rtmr1", 1), ("rtmr2", 6)]);
    let verdict = with(other.clone() + &good);
    verdict.proven();
    assert_eq!(verdict.findings.claims["image"], "good");
    assert_eq!(verdict.findings.vector.executables, Status::Affirming);
    // Each value is one of an image's, and no image has them together.
    let halves = image("left", &[("mrtd", 0), ("rtmr1", 1)]) + &image("right", &[("mrtd", 1), ("rtmr1", 5)]);
    let verdict = with(halves);
    let detail = verdict.only(Code::MeasurementUnknown);
    assert!(detail.contains("the nearest image is left; 1 of its 2 registers differ: rtmr1 is 0505"), "{detail}");
    assert_eq!(verdict.findings.vector.executables, Status::Warning);
    with(other).only(Code::MeasurementUnknown);
    // What `measurements` say must hold beside it.
    let entry = |value: u8| {
        format!(
            "[[tdx.measurements]]\nregister = \"rtmr3\"\nfrom = \"test\"\nvalue = \"{}\"\n",
            hex::encode([value; 48])
        )
    };
    with(good.clone() + &entry(7)).proven();
    with(good + &entry(8)).only(Code::MeasurementUnknown);
}

#[test]
fn flags_of_the_platform_are_named_one_by_one() {
    for (n, word) in ["dynamic", "cached-keys", "smt"].into_iter().enumerate() {
        let mut lab = Lab::default();
        lab.flags[n] = true;
        let case = lab.case();
        let verdict = case.judge();
        assert!(verdict.only(Code::PlatformRefused).contains(word));
        assert_eq!(verdict.findings.vector.configuration, Status::Warning);
        accepting(&case, "any_measurement", &format!("platform = [\"{word}\"]\nany_measurement")).judge().proven();
    }
}

#[test]
fn revoked_certificates_are_named() {
    for (list, serial, name) in [
        (1, serial::PCK, "Lab PCK Certificate"),
        (0, serial::PLATFORM_CA, "Lab PCK Platform CA"),
        (0, serial::SIGNER, "Lab TCB Signing"),
    ] {
        let mut lab = Lab::default();
        lab.revoked[list] = vec![99, serial];
        assert!(lab.case().judge().only(Code::CertificateRevoked).contains(name));
        // The same number of another issuer is another certificate.
        let mut lab = Lab::default();
        lab.revoked[1 - list] = vec![99, serial];
        lab.case().judge().proven();
    }
}

#[test]
fn an_expired_certificate_is_named_and_nothing_else_is_wrong() {
    let verdict = Lab { pck_until: 14, ..Lab::default() }.case().judge();
    let detail = verdict.only(Code::CertificateExpired);
    assert!(detail.contains("Lab PCK Certificate") && detail.contains("2026-06-14"), "{detail}");
}

#[test]
fn a_laboratory_is_nothing_under_intels_root() {
    let case = Case { root: INTEL.into(), ..Lab::default().case() };
    case.judge().only(Code::RootUnpinned);
}

#[test]
fn parts_of_two_vendors_do_not_mix() {
    let (one, two) = (Lab::default().case(), Lab::default().case());
    Case { quote: two.quote.clone(), ..one.clone() }.judge().only(Code::CollateralInvalid);
    let members = one.collateral.as_object().unwrap().keys();
    // Some statements are the same, word for word; their signatures are not.
    for member in members.filter(|m| one.collateral[*m] != two.collateral[*m]) {
        let mut mixed = one.clone();
        mixed.collateral[member] = two.collateral[member].clone();
        let codes = mixed.judge().codes();
        assert_eq!(codes.len(), 1);
        assert!([Code::CollateralInvalid, Code::RootUnpinned].contains(&codes[0]), "{member}: {codes:?}");
    }
}

#[test]
fn keys_of_one_vendor_do_not_mix() {
    let vendor = Vendor::new();
    let (one, two) = (Lab::default().case_of(&vendor), Lab { evaluation: 19, ..Lab::default() }.case_of(&vendor));
    // Another platform of this vendor may use the same collateral.
    Case { quote: two.quote.clone(), ..one.clone() }.judge().proven();
    let seen = one.judge().findings.collateral;
    let codes = Case { seen, ..two.clone() }.judge().codes();
    assert_eq!(codes, [Code::CollateralRollback; 2]);
    let mut mixed = one.clone();
    mixed.collateral["tcb_info"] = two.collateral["tcb_info"].clone();
    mixed.judge().only(Code::CollateralInvalid);
}

#[test]
fn what_only_intels_rules_refuse_is_a_broken_chain() {
    let verdict = Lab { wrong_signer: true, ..Lab::default() }.case().judge();
    assert!(verdict.only(Code::ChainInvalid).contains("issued directly by the root"));
    assert!(verdict.findings.collateral.is_empty());
    let verdict = Lab { qe_signer: 0x23, ..Lab::default() }.case().judge();
    assert!(verdict.only(Code::ChainInvalid).contains("QE MRSIGNER"));
}

#[test]
fn tcb_info_of_another_pce_is_invalid() {
    Lab { pce_id: "0001", ..Lab::default() }.case().judge().only(Code::CollateralInvalid);
}

#[test]
fn the_chain_may_be_in_the_collateral_but_must_be_somewhere() {
    let mut case = Lab { stapled_chain: true, ..Lab::default() }.case();
    case.judge().proven();
    case.collateral.as_object_mut().unwrap().remove("pck_certificate_chain");
    case.judge().only(Code::CollateralMissing);
}
