//! What several fuzz targets do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use eider_attest::{AttestPolicy, Binding, Envelope, EvidenceKind, Findings, Given, verifier};
use eider_protocol::{Body, Hash, Identity, NodeId, OfferId, Signed, Version};
use serde_bytes::ByteBuf;

/// A signed frame, both as a payload and as a body that carries a valid signature.
pub fn signed<T: Body + Clone + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let (identity, version) = (Identity::from_seed([42; 32]), Version::V3);
    if let Ok(signed) = Signed::<T>::open(bytes, version, identity.node_id()) {
        assert_eq!(signed.to_payload().len(), bytes.len());
    }
    if let Some(message) = Signed::<T>::parse_body(bytes) {
        let again = Signed::sign(&identity, version, message);
        assert_eq!(Signed::<T>::open(&again.to_payload(), version, identity.node_id()).as_ref(), Ok(&again));
    }
}

/// Evidence of one kind with its endorsements, under a policy that wants everything. The first four bytes are the lengths of
/// the evidence and of the first endorsement.
pub fn evidence(kind: EvidenceKind, bytes: &[u8]) {
    let Some((lengths, rest)) = bytes.split_first_chunk::<4>() else { return };
    let length = |low, high| usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (evidence, rest) = rest.split_at(length(lengths[0], lengths[1]));
    let (first, second) = rest.split_at(length(lengths[2], lengths[3]).min(rest.len()));
    let envelope = Envelope {
        v: 1,
        kind,
        evidence: evidence.to_vec(),
        log: Some(ByteBuf::from(second)),
        endorsements: [first, second].into_iter().filter(|e| !e.is_empty()).map(ByteBuf::from).collect(),
        offer: OfferId::from_bytes([1; 32]),
        nonce: [2; 32],
        sealing: [3; 32],
    };
    let binding = Binding {
        kind,
        nonce: envelope.nonce,
        requester: NodeId::from_bytes([4; 32]),
        offer: envelope.offer,
        node: NodeId::from_bytes([5; 32]),
        sealing: envelope.sealing,
        engine: Hash::from_bytes([6; 32]),
        policy: Hash::from_bytes([7; 32]),
    };
    static POLICY: LazyLock<AttestPolicy> = LazyLock::new(|| {
        AttestPolicy::parse(include_bytes!("../../../policies/attest/internal.toml")).expect("the shipped policy")
    });
    let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
    let given =
        Given { envelope: &envelope, binding, now: 1_750_414_563, policy: &POLICY, seen: &seen, activated: &activated };
    let mut findings = Findings::default();
    let verdict = verifier(kind).map(|v| v.verify(&given, &mut findings));
    assert!(!matches!(verdict, Some(Ok(()))) || !findings.reasons.is_empty(), "nobody has signed that");
}
