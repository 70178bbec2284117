//! Quotes of Intel's hardware, at the time that their collateral is of.

use std::collections::{BTreeMap, BTreeSet};

use eider_attest::{Code, Expected, Issued, Status, Tier, appraise};
use eider_protocol::{Hash, Identity, OfferId};

use super::judge::{Case, envelope, vector};

pub(crate) fn version_4() -> Case {
    Case::genuine("tdx_quote", 1_750_414_563)
}

pub(crate) fn version_5() -> Case {
    Case::genuine("tdx_quote_td15ex", 1_791_504_586)
}

fn both() -> Vec<Case> {
    vec![version_4(), version_5()]
}

#[test]
fn genuine_quotes_are_proven_at_their_time() {
    for case in both() {
        let verdict = case.judge();
        verdict.proven();
        let (claims, vector) = (&verdict.findings.claims, verdict.findings.vector);
        assert_eq!(claims["tcb-status"], "UpToDate");
        assert_eq!(claims["fmspc"], "b0c06f000000");
        assert_eq!(claims["attributes"], "0000001000000000");
        for name in ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"] {
            assert_eq!(claims[name].len(), 96);
        }
        assert_eq!(vector.instance_identity, Status::Affirming);
        assert_eq!(vector.hardware, Status::Affirming);
        assert_eq!(vector.executables, Status::None);
        let numbers = &verdict.findings.collateral;
        assert_eq!(numbers["tdx-tcb:b0c06f000000"].to_string(), claims["tcb-evaluation"]);
        assert_eq!(numbers["tdx-qe"].to_string(), claims["qe-evaluation"]);
        assert_eq!((numbers["tdx-crl:root"], numbers["tdx-crl:platform"]), (1, 1));
        let window = verdict.findings.window;
        assert!(window.from <= case.now && case.now <= window.until);
    }
}

#[test]
fn the_window_is_of_the_shortest_lived_collateral() {
    let case = version_4();
    let window = case.judge().findings.window;
    // QE identity of 2025-06-19T10:32:27Z; PCK revocation list to 2025-07-19T10:00:35Z, not included.
    assert_eq!((window.from, window.until), (1_750_329_147, 1_752_919_234));
}

#[test]
fn collateral_before_and_after_its_window_is_stale_and_nothing_else() {
    for case in both() {
        let window = case.judge().findings.window;
        for now in [window.from, window.until] {
            Case { now, ..case.clone() }.judge().proven();
        }
        for now in [window.from - 1, window.until + 1] {
            Case { now, ..case.clone() }.judge().only(Code::CollateralStale);
        }
    }
}

#[test]
fn certificates_expire_and_begin() {
    for case in both() {
        for now in [i64::MIN, -1, 0, 1 << 40, i64::MAX] {
            let codes = Case { now, ..case.clone() }.judge().codes();
            assert!(codes.contains(&Code::CertificateExpired), "{now}: {codes:?}");
            assert!(codes.contains(&Code::CollateralStale), "{now}: {codes:?}");
        }
    }
}

#[test]
fn a_quote_bound_to_something_else_is_a_binding_mismatch_and_nothing_else() {
    for case in both() {
        case.judge_bound().only(Code::BindingMismatch);
    }
}

#[test]
fn a_bid_with_a_genuine_quote_of_something_else_is_l0() {
    let case = version_4();
    let identity = Identity::from_seed([7; 32]);
    let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
    let expected = Expected {
        requester: Identity::from_seed([8; 32]).node_id(),
        node: identity.node_id(),
        sealing: [5; 32],
        engine: Hash::from_bytes([6; 32]),
        demanded: case.policy().hash(),
        offer: Issued { offer: OfferId::from_bytes([3; 32]), nonce: [1; 32], at: case.now },
        earlier: &[],
        seen: &seen,
        activated: &activated,
    };
    let appraisal = appraise(Some(&case.envelope().sign(&identity)), &expected, case.now, &case.policy());
    assert_eq!((appraisal.claimed, appraisal.tier), (Tier::L2, Tier::L0));
    assert_eq!(appraisal.reasons.iter().map(|r| r.code).collect::<Vec<_>>(), [Code::BindingMismatch]);
}

#[test]
fn the_outdated_platform_is_below_every_level() {
    let case = Case::genuine("tdx_quote_outdated", 1_772_000_000);
    let verdict = case.judge();
    let detail = verdict.only(Code::TcbTooOld);
    assert!(detail.contains("CPU component") && detail.contains(" of "), "{detail}");
    assert_eq!(verdict.findings.vector.hardware, Status::Contraindicated);
    assert_eq!(verdict.findings.collateral.len(), 4, "all is signed: the numbers are noted");
}

#[test]
fn another_root_is_unpinned() {
    for case in both() {
        let verdict = Case { root: "00".repeat(32), ..case }.judge();
        assert!(verdict.only(Code::RootUnpinned).contains(super::judge::INTEL));
    }
}

#[test]
fn every_status_must_be_named() {
    for case in both() {
        let accept = case.accept.replace("\"UpToDate\"", "\"OutOfDate\"");
        let verdict = Case { accept, ..case }.judge();
        assert!(verdict.only(Code::TcbStatus).starts_with("UpToDate"));
    }
}

#[test]
fn every_flag_of_the_platform_must_be_named() {
    for case in both() {
        let accept = "any_measurement = true\nstatuses = [\"UpToDate\"]".to_string();
        let verdict = Case { accept, ..case.clone() }.judge();
        assert!(!verdict.reasons.is_empty());
        for reason in &verdict.reasons {
            assert_eq!(reason.code, Code::PlatformRefused);
            let word = reason.detail.split('`').nth(1).unwrap();
            let accept = case.accept.replace(&format!("\"{word}\""), "\"other\"");
            Case { accept, ..case.clone() }.judge().only(Code::PlatformRefused);
        }
    }
}

#[test]
fn platforms_are_accepted_by_name() {
    for case in both() {
        let ppid = case.judge().findings.claims["ppid"].clone();
        assert_eq!(ppid.len(), 32);
        let with = |ppid: &str| {
            let accept = format!("{}\nppids = [{{ value = \"{ppid}\", from = \"test\" }}]", case.accept);
            Case { accept, ..case.clone() }.judge()
        };
        with(&ppid).proven();
        assert!(with(&"11".repeat(16)).only(Code::MachineUnknown).contains(&ppid));
    }
}

#[test]
fn measurements_are_compared_register_by_register() {
    for case in both() {
        let claims = case.judge().findings.claims;
        let with = |measurements: &[(&str, &str)]| {
            let lines: Vec<_> = measurements
                .iter()
                .map(|(r, v)| format!("{{ register = \"{r}\", value = \"{v}\", from = \"test\" }}"))
                .collect();
            let accept = format!("measurements = [{}]", lines.join(", "));
            let accept = case.accept.replace("any_measurement = true", &accept);
            Case { accept, ..case.clone() }.judge()
        };
        let other = "11".repeat(48);
        let all: Vec<_> =
            ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"].into_iter().map(|r| (r, claims[r].as_str())).collect();
        with(&all).proven();
        assert_eq!(with(&all).findings.vector.executables, Status::Affirming);
        with(&[("mrtd", &other), ("mrtd", &claims["mrtd"])]).proven();
        with(&[]).only(Code::MeasurementUnknown);
        with(&[("pcr0", &claims["mrtd"])]).only(Code::MeasurementUnknown);
        with(&[("mrtd", "")]).only(Code::MeasurementUnknown);
        for n in 0..all.len() {
            let mut wrong = all.clone();
            wrong[n].1 = &other;
            assert!(with(&wrong).only(Code::MeasurementUnknown).starts_with(all[n].0));
        }
    }
}

#[test]
fn a_lower_number_than_was_seen_is_a_rollback() {
    for case in both() {
        let numbers = case.judge().findings.collateral;
        assert_eq!(numbers.len(), 4);
        Case { seen: numbers.clone(), ..case.clone() }.judge().proven();
        for (name, number) in numbers {
            let verdict = Case { seen: [(name.clone(), number + 1)].into(), ..case.clone() }.judge();
            assert!(verdict.only(Code::CollateralRollback).starts_with(&name));
        }
    }
}

#[test]
fn an_evaluation_before_the_one_that_the_policy_wants_is_stale() {
    for case in both() {
        let claims = case.judge().findings.claims;
        let numbers = ["tcb-evaluation", "qe-evaluation"].map(|name| claims[name].parse::<u32>().unwrap());
        let with = |least: u32| case.with_lines(&format!("evaluation = {least}")).judge();
        assert_eq!(numbers[0], numbers[1], "one evaluation");
        with(numbers[0]).proven();
        with(0).proven();
        let later = with(numbers[0] + 1);
        assert_eq!(later.codes(), [Code::CollateralStale; 2], "of the platform and of the quoting enclave");
        let detail = &later.reasons[0].detail;
        assert!(
            detail.contains(&format!("evaluation {}; the policy wants {}", numbers[0], numbers[0] + 1)),
            "{detail}"
        );
    }
}

#[test]
fn sgx_quotes_are_refused_by_name() {
    let case = version_4();
    let quote = vector("sgx/sgx_quote");
    let verdict = Case { quote, ..case }.judge();
    assert!(verdict.only(Code::EvidenceMalformed).contains("TDX quote is wanted"));
}

#[test]
fn collateral_must_be_stapled() {
    for case in both() {
        for endorsements in [vec![], vec![vec![]]] {
            case.judge_envelope(&envelope(case.quote.clone(), endorsements)).only(Code::CollateralMissing);
        }
        for junk in [&b"{"[..], b"[]", b"null", b"{}", &[0xff; 40]] {
            case.judge_envelope(&envelope(case.quote.clone(), vec![junk.to_vec()])).only(Code::CollateralInvalid);
        }
        let deep = vec![b'['; 100_000];
        case.judge_envelope(&envelope(case.quote.clone(), vec![deep])).only(Code::CollateralInvalid);
        let large = vec![b' '; (128 << 10) + 1];
        case.judge_envelope(&envelope(case.quote.clone(), vec![large])).only(Code::CollateralInvalid);
    }
}

#[test]
fn collateral_of_another_platform_or_time_is_invalid() {
    let (four, five) = (version_4(), version_5());
    let sgx = vector("sgx/sgx_quote_collateral.json");
    let sgx: serde_json::Value = serde_json::from_slice(&sgx).unwrap();
    Case { collateral: sgx.clone(), ..four.clone() }.judge().only(Code::CollateralInvalid);
    Case { collateral: five.collateral.clone(), ..four.clone() }.judge().only(Code::CollateralInvalid);
    let mut mixed = four.clone();
    for member in ["tcb_info", "tcb_info_signature", "tcb_info_issuer_chain"] {
        mixed.collateral[member] = sgx[member].clone();
    }
    mixed.judge().only(Code::CollateralInvalid);
}
