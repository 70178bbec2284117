//! What a peer of a later version sends: it is told from rubbish, and blames nobody.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use eider_protocol::*;
use serde::Serialize;
use serde_bytes::ByteBuf;

#[derive(Serialize)]
struct Envelope {
    key: PublicKey,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    #[serde(with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    ext: Vec<u8>,
}

fn cbor(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// Any body and extensions under a good signature.
fn signed(kind: Kind, body: Vec<u8>, ext: Vec<u8>) -> (Vec<u8>, NodeId) {
    let identity = Identity::from_seed([42; 32]);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let input = [format!("eider/3 {kind}\0").as_bytes(), &length, &body, &ext].concat();
    let envelope = Envelope { key: identity.public(), signature: identity.sign(&input), body, ext };
    (cbor(&envelope), identity.node_id())
}

fn verify() -> Verify {
    Verify { offer: OfferId::from_bytes([9; 32]), root: Hash::from_bytes([2; 32]), offset: 0 }
}

fn open<T: Body>((payload, node): (Vec<u8>, NodeId)) -> Result<Signed<T>, DecodeError> {
    Signed::open(&payload, Version::V3, node)
}

/// [P-VER-2], [P-FRAME-3], [P-RESET-2]
#[test]
fn a_word_or_field_of_a_later_version_is_incompatible_and_other_rubbish_malformed() {
    let bid = Bid {
        offer: OfferId::from_bytes([9; 32]),
        answer: Err(Decline { reason: DeclineReason::Busy, detail: "b".into() }),
        sealing: [1; 32],
        evidence: None,
    };
    let body = cbor(&bid);
    assert!(open::<Bid>(signed(Kind::Bid, body.clone(), vec![])).is_ok());
    let at = body.windows(4).position(|w| w == b"busy").unwrap();
    let mut later = body.clone();
    later[at..at + 4].copy_from_slice(b"lazy");
    let e = open::<Bid>(signed(Kind::Bid, later, vec![])).unwrap_err();
    assert!(matches!(&e, DecodeError::Incompatible(Kind::Bid, why) if why.contains("lazy")), "{e:?}");
    assert_eq!((e.reset_code(), e.reset_code().fault()), (ResetCode::Incompatible, Fault::None));

    #[derive(Serialize)]
    struct Wider {
        offer: OfferId,
        root: Hash,
        offset: u64,
        colour: u8,
    }
    let v = verify();
    let wider = cbor(&Wider { offer: v.offer, root: v.root, offset: 0, colour: 1 });
    let e = open::<Verify>(signed(Kind::Verify, wider, vec![])).unwrap_err();
    assert!(matches!(e, DecodeError::Incompatible(..)), "{e:?}");

    for rubbish in [vec![], vec![0xff], [cbor(&v), vec![0]].concat(), cbor(&"busy")] {
        let e = open::<Verify>(signed(Kind::Verify, rubbish, vec![])).unwrap_err();
        assert!(matches!(e, DecodeError::Malformed(..)), "{e:?}");
        assert_eq!(e.reset_code().fault(), Fault::Receiver);
    }
    assert_eq!(DecodeError::from(FrameError::UnknownKind(77)).reset_code().fault(), Fault::None);
}

/// [P-VER-3], [P-SIGN-1]
#[test]
fn extensions_are_passed_over_but_signed_and_bounded() {
    let map = |n: usize, bytes: usize| -> Vec<u8> {
        cbor(&(0..n).map(|i| (format!("x{i}"), ByteBuf::from(vec![7; bytes]))).collect::<BTreeMap<_, _>>())
    };
    let (payload, node) = signed(Kind::Verify, cbor(&verify()), map(2, 10));
    let opened = open::<Verify>((payload.clone(), node)).unwrap();
    assert_eq!((opened.message(), opened.extensions().len()), (&verify(), 2));
    for i in 0..payload.len() {
        let mut bad = payload.clone();
        bad[i] ^= 1;
        assert!(open::<Verify>((bad, node)).is_err(), "byte {i} does not matter");
    }
    let without = open::<Verify>(signed(Kind::Verify, cbor(&verify()), vec![])).unwrap();
    assert_ne!(opened.content_hash(), without.content_hash());
    for bad in [map(17, 1), map(2, 600), map(0, 0), vec![0xff], cbor(&"x")] {
        assert!(matches!(
            open::<Verify>(signed(Kind::Verify, cbor(&verify()), bad)),
            Err(DecodeError::Malformed(Kind::Verify, _))
        ));
    }
    let ours = Signed::sign_with(&Identity::from_seed([42; 32]), Version::V3, verify(), opened.extensions().clone());
    assert_eq!(ours.to_payload(), payload);
}

/// [P-VER-1], [P-SIGN-2]
#[test]
fn a_version_is_what_alpn_says_and_first_in_what_is_signed() {
    for version in Version::ALL {
        assert_eq!(Version::of_alpn(version.alpn().as_bytes()), Some(*version));
        assert_eq!(version.to_string().parse(), Ok(*version));
    }
    assert_eq!(Version::of_alpn(b"eider/2"), None);
    assert_eq!(Version::of_alpn(b"eider/33"), None);
    let body = cbor(&verify());
    let identity = Identity::from_seed([42; 32]);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let old = [b"eider/2 verify\0".as_slice(), &length, &body].concat();
    let envelope = Envelope { key: identity.public(), signature: identity.sign(&old), body, ext: vec![] };
    let e = open::<Verify>((cbor(&envelope), identity.node_id())).unwrap_err();
    assert_eq!(e, DecodeError::BadSignature(Kind::Verify));
    // What is in archives was signed for a version that nobody speaks any more.
    assert_eq!("eider/2".parse(), Ok(Version::V2));
    assert!("eider/1".parse::<Version>().is_err() && "eider/33".parse::<Version>().is_err());
    let archived = cbor(&envelope);
    assert!(Signed::<Verify>::open(&archived, Version::V2, identity.node_id()).is_ok());
}

/// [P-ID-1], [P-ID-2]
#[test]
fn a_node_is_its_keys_hash_and_a_job_its_offers() {
    let key = Identity::from_seed([42; 32]).public();
    let node = format!("b3:{}", blake3::hash(key.as_bytes()));
    assert_eq!(key.node_id().to_string(), node);
    assert_eq!(node.parse(), Ok(key.node_id()));
    let (payload, signer) = signed(Kind::Verify, cbor(&verify()), vec![]);
    let opened = open::<Verify>((payload, signer)).unwrap();
    let body = cbor(&verify());
    let content = [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat();
    assert_eq!(opened.content_hash(), blake3::hash(&content).into());
    assert!(OfferId::from_bytes(*opened.content_hash().as_bytes()).to_string().starts_with("job:"));
}

fn task() -> Task {
    Task { sql: "SELECT 1".into(), inputs: vec![], time_us: 1, seed: [5; 32], salt: [8; 32] }
}

/// [P-TASK-1]
#[test]
fn a_tasks_hash_names_all_of_it_and_tells_nothing() {
    let hash = task().hash();
    let others = [
        Task { sql: "SELECT 2".into(), ..task() },
        Task { time_us: 2, ..task() },
        Task { seed: [6; 32], ..task() },
        Task { salt: [9; 32], ..task() },
        Task {
            inputs: vec![InputEntry {
                table: "t".into(),
                file: "t/a".into(),
                format: Format::Csv,
                size: 1,
                hash: Hash::from_bytes([1; 32]),
            }],
            ..task()
        },
    ];
    assert!(others.iter().all(|t| t.hash() != hash));
    // Who has the query's hash alone comes to the same.
    let Task { sql, inputs, time_us, seed, salt } = task();
    assert_eq!(TaskOutline { query: query_hash(&sql), inputs: &inputs, time_us, seed, salt }.hash(), hash);
}

/// [P-OFFER-2]
#[test]
fn an_offer_is_good_for_a_time_by_clocks_that_differ_a_little() {
    let offer = |issued_at, valid_s| Offer {
        requester: Identity::from_seed([1; 32]).node_id(),
        task: task().hash(),
        draw: terms().commitment(),
        class: DataClass::Public,
        engine: Hash::from_bytes([1; 32]),
        profile: "p1-plain".into(),
        limits: Limits { memory: 1, result: 1, run_ms: 1, fuel: None },
        inputs: InputsSummary { count: 0, bytes: 0 },
        attest: None,
        issued_at,
        valid_s,
        nonce: [7; 32],
    };
    let now = 1_800_000_000;
    for (issued_at, valid_s, good) in [
        (now, 60, true),
        (now - 300, 60, true),
        (now - 400, 60, false),
        (now + 299, 60, true),
        (now + 301, 60, false),
        (now, Offer::VALID_MAX_S, true),
        (now, Offer::VALID_MAX_S + 1, false),
        (i64::MIN, 0, false),
        (i64::MAX, u32::MAX, false),
    ] {
        assert_eq!(offer(issued_at, valid_s).is_current(now), good, "{issued_at} {valid_s}");
    }
}

fn terms() -> Terms {
    Terms { seed: [3; 32], k: 3, quorum: 2, executions: 5, policy: None }
}

/// [P-OFFER-3]
#[test]
fn an_offer_commits_to_each_of_its_terms() {
    let changed = [
        Terms { seed: [4; 32], ..terms() },
        Terms { k: 4, ..terms() },
        Terms { quorum: 3, ..terms() },
        Terms { executions: 6, ..terms() },
        Terms { policy: Some(Hash::from_bytes([1; 32])), ..terms() },
    ];
    assert!(changed.iter().all(|t| t.commitment() != terms().commitment()));
}
