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
    tdx_1_5(1).case().judge().only(Code::PlatformRefused);
    for attributes in [0, 1 << 28 | 1 << 29, 1 << 28 | 1 << 17, 1 << 28 | 1 << 7, 1 << 28 | 1 << 40] {
        let case = Lab { attributes, ..Lab::default() }.case();
        case.judge().only(Code::PlatformRefused);
        accepting(&case, "any_measurement", "debug = true\nany_measurement").judge().only(Code::PlatformRefused);
    }
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
