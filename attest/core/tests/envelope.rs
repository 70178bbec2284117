//! What is looked at before any vendor's bytes: whose envelope it is, for which offer, how old, of what kind.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;
use eider_attest::{
    Appraisal, AttestPolicy, Binding, Class, Code, ENVELOPE_MAX, Envelope, EvidenceKind, Expected, Issued, Tier,
    appraise,
};
use eider_protocol::{Hash, Identity, NodeId, OfferId};

const NOW: i64 = 1_800_000_000;
const KEY: [u8; 32] = [5; 32];

fn policy(lines: &str) -> AttestPolicy {
    let text = format!("name = \"p\"\nclass = \"internal\"\nminimum = \"L1\"\ndevelopment = true\n{lines}");
    AttestPolicy::parse(text.as_bytes()).unwrap()
}

fn worker() -> Identity {
    Identity::from_seed([1; 32])
}

fn offer(n: u8, at: i64) -> Issued {
    Issued { offer: OfferId::from_bytes([n; 32]), nonce: [n; 32], at }
}

/// What an honest worker makes for an offer.
fn envelope(issued: Issued, policy: &AttestPolicy) -> Envelope {
    let binding = Binding {
        kind: EvidenceKind::Development,
        nonce: issued.nonce,
        requester: NodeId::from_bytes([2; 32]),
        offer: issued.offer,
        node: worker().node_id(),
        sealing: KEY,
        engine: Hash::from_bytes([6; 32]),
        policy: policy.hash(),
    };
    Envelope {
        v: 1,
        kind: EvidenceKind::Development,
        evidence: binding.digest().to_vec(),
        log: None,
        endorsements: vec![],
        offer: issued.offer,
        nonce: issued.nonce,
        sealing: KEY,
    }
}

/// The verdict on a bid for offer 3, whose requester has made offer 4 ten minutes ago.
fn verdict(bytes: Option<&[u8]>, policy: &AttestPolicy) -> Appraisal {
    let expected = Expected {
        requester: NodeId::from_bytes([2; 32]),
        node: worker().node_id(),
        sealing: KEY,
        engine: Hash::from_bytes([6; 32]),
        demanded: policy.hash(),
        offer: offer(3, NOW),
        earlier: &[offer(4, NOW - 600)],
        seen: &BTreeMap::new(),
        activated: &BTreeSet::new(),
    };
    appraise(bytes, &expected, NOW, policy)
}

fn code(bytes: &[u8], policy: &AttestPolicy) -> Option<Code> {
    let appraisal = verdict(Some(bytes), policy);
    assert!(appraisal.reasons.len() <= 1, "{:?}", appraisal.reasons);
    assert_eq!(appraisal.tier == Tier::L0, !appraisal.reasons.is_empty());
    appraisal.reasons.first().map(|r| r.code)
}

/// The body of an envelope with one field changed, signed by the worker as it is.
fn with(name: &str, value: Value) -> Vec<u8> {
    let honest = envelope(offer(3, NOW), &policy("")).sign(&worker());
    let outer: Value = ciborium::from_reader(&honest[..]).unwrap();
    let body = outer.as_map().unwrap().iter().find(|(k, _)| k.as_text() == Some("body")).unwrap().1.clone();
    let mut body: Value = ciborium::from_reader(&body.into_bytes().unwrap()[..]).unwrap();
    let fields = body.as_map_mut().unwrap();
    match fields.iter_mut().find(|(k, _)| k.as_text() == Some(name)) {
        Some((_, old)) => *old = value,
        None => fields.push((Value::from(name), value)),
    }
    let mut bytes = vec![];
    ciborium::into_writer(&body, &mut bytes).unwrap();
    bytes
}

#[test]
fn an_honest_one_holds_and_none_at_all_is_absent() {
    let policy = policy("");
    let bytes = envelope(offer(3, NOW), &policy).sign(&worker());
    assert_eq!(code(&bytes, &policy), None);
    let absent = verdict(None, &policy);
    assert_eq!((absent.reasons[0].code, absent.lack()), (Code::EvidenceAbsent, Some(Class::Absent)));
    let production = AttestPolicy::parse(include_bytes!("../../../policies/attest/internal.toml")).unwrap();
    let bytes = envelope(offer(3, NOW), &production).sign(&worker());
    assert_eq!(code(&bytes, &production), Some(Code::Development));
    assert_eq!(verdict(Some(&bytes), &production).lack(), Some(Class::Insufficient));
}

#[test]
fn evidence_of_an_earlier_offer_is_used_again_only_as_the_policy_says() {
    for (lines, expected) in
        [("", Some(Code::NonceMismatch)), ("reuse = \"10m\"", None), ("reuse = \"9m\"", Some(Code::EvidenceStale))]
    {
        let policy = policy(lines);
        let bytes = envelope(offer(4, NOW - 600), &policy).sign(&worker());
        assert_eq!(code(&bytes, &policy), expected, "{lines}");
        assert_eq!(verdict(Some(&bytes), &policy).reused, expected.is_none());
        // Of an offer that this requester never made, or with that offer's id and another nonce.
        let foreign = envelope(offer(9, NOW), &policy).sign(&worker());
        assert_eq!(code(&foreign, &policy), Some(Code::NonceMismatch));
        let mixed = Envelope { nonce: [3; 32], ..envelope(offer(4, NOW - 600), &policy) }.sign(&worker());
        assert_eq!(code(&mixed, &policy), Some(Code::NonceMismatch));
    }
}

#[test]
fn whatever_is_wrong_with_an_envelope_is_a_reason() {
    let policy = policy("");
    let honest = envelope(offer(3, NOW), &policy);
    let bytes = honest.sign(&worker());
    assert_eq!(code(&honest.sign(&Identity::from_seed([8; 32])), &policy), Some(Code::NodeMismatch));
    let other_key = Envelope { sealing: [6; 32], ..honest.clone() }.sign(&worker());
    assert_eq!(code(&other_key, &policy), Some(Code::SealingMismatch));
    let other = Envelope { evidence: vec![0; 64], ..honest.clone() }.sign(&worker());
    assert_eq!(code(&other, &policy), Some(Code::BindingMismatch));
    assert_eq!(verdict(Some(&other), &policy).lack(), Some(Class::Invalid));
    assert_eq!(code(&vec![0; ENVELOPE_MAX + 1], &policy), Some(Code::EnvelopeTooLarge));
    assert_eq!(code(&[&bytes[..], &[0]].concat(), &policy), Some(Code::EnvelopeMalformed));
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 1;
        assert!(code(&bad, &policy).is_some(), "byte {i} does not matter");
        assert!(code(&bytes[..i], &policy).is_some());
    }
}

#[test]
fn another_version_kind_or_field_is_told_apart() {
    use eider_attest::EnvelopeError::{Kind, Malformed, Version};
    assert!(matches!(Envelope::parse(&with("v", Value::from(2))), Err(Version(2))));
    assert!(matches!(Envelope::parse(&with("kind", Value::from("sgx"))), Err(Kind(_))));
    assert!(matches!(Envelope::parse(&with("critical", Value::from(1))), Err(Malformed(_))));
    let many = Value::Array(vec![Value::Bytes(vec![]); 17]);
    assert!(matches!(Envelope::parse(&with("endorsements", many)), Err(Malformed(_))));
    assert!(Envelope::parse(&with("v", Value::from(1))).is_ok());
}
