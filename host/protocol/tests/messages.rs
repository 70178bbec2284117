//! Every message: a golden vector, a round trip, and bytes that are none.
#![allow(clippy::unwrap_used, missing_docs)]

use eider_protocol::*;
use proptest::prelude::*;

fn identity() -> Identity {
    Identity::from_seed([42; 32])
}

fn hash(n: u8) -> Hash {
    Hash::from_bytes([n; 32])
}

fn job() -> OfferId {
    OfferId::from_bytes([9; 32])
}

fn offer() -> Offer {
    Offer {
        requester: identity().node_id(),
        task: task().hash(),
        draw: Terms { seed: [4; 32], k: 3, quorum: 2, executions: 5, policy: Some(hash(8)) }.commitment(),
        class: DataClass::Internal,
        engine: hash(1),
        profile: "p1-plain".into(),
        limits: Limits { memory: 1 << 30, result: 1 << 20, run_ms: 60_000, fuel: None },
        inputs: InputsSummary { count: 1, bytes: 1000 },
        attest: Some(Demand { policy: hash(8), max_age_s: 600 }),
        issued_at: 1_700_000_000,
        valid_s: 600,
        nonce: [7; 32],
    }
}

fn outcome() -> Outcome {
    let metering = Metering { fuel: Some(12345), bytes_read: 1000, reads: 3, memory: 1 << 20 };
    Outcome::Completed { root: hash(2), length: 400, rows: 1, metering }
}

fn task() -> Task {
    let entry = InputEntry {
        table: "t".into(),
        file: "t/a.parquet".into(),
        format: Format::Parquet,
        size: 1000,
        hash: hash(3),
    };
    Task { sql: "SELECT 1".into(), inputs: vec![entry], time_us: 1_700_000_000_000_000, seed: [5; 32], salt: [8; 32] }
}

fn bid(answer: Result<Accept, Decline>) -> Bid {
    Bid { offer: job(), answer, sealing: [6; 32], evidence: Some(serde_bytes::ByteBuf::from(b"evidence")) }
}

/// Kind and payload of one of each.
fn samples() -> Vec<(Kind, Vec<u8>)> {
    let id = identity();
    fn signed<T: Body>(id: &Identity, message: T) -> (Kind, Vec<u8>) {
        (T::KIND, Signed::sign(id, Version::V3, message).to_payload())
    }
    let accept = Accept { eta_ms: 5, price: 0, free_memory: 1 << 30, free_jobs: 2 };
    vec![
        signed(&id, offer()),
        signed(&id, bid(Ok(accept))),
        signed(&id, Dispatch { offer: job(), worker: id.node_id(), enc: [3; 32], sealed: b"ciphertext".to_vec() }),
        signed(&id, Commit { offer: job(), task: hash(5), price: 3, outcome: outcome() }),
        signed(&id, Verify { offer: job(), root: hash(2), offset: 16384 }),
        signed(
            &id,
            Settle {
                offer: job(),
                task: hash(5),
                price: 3,
                worker: id.node_id(),
                verdict: Verdict::Delivered,
                digest: hash(4),
            },
        ),
        (Kind::Progress, Progress { stage: Stage::Running, done: 5000, bytes_read: 77 }.to_payload()),
        (Kind::Fetch, Fetch { offer: job(), index: 0, start: 0, end: 1000 }.to_payload()),
        signed(&id, Challenge { offer: job(), credential: vec![1; 60], secret: vec![2; 256] }),
        signed(&id, Response { offer: job(), secret: vec![3; 32] }),
        (Kind::Sealed, Sealed { offer: job(), salt: [4; 32] }.to_payload()),
        (Kind::Engine, component(16_384, 57_000_000).to_payload()),
        (Kind::Published, Published { root: hash(6), length: 4_000 }.to_payload()),
    ]
}

fn component(start: u64, end: u64) -> EngineFetch {
    EngineFetch { engine: hash(1), part: EnginePart::Component { start, end } }
}

/// Kinds that nobody signs.
fn is_unsigned(kind: Kind) -> bool {
    matches!(kind, Kind::Progress | Kind::Fetch | Kind::Sealed | Kind::Engine | Kind::Published)
}

/// Decodes as the receiver of a frame does.
fn decode(kind: Kind, payload: &[u8], signer: NodeId) -> Result<(), DecodeError> {
    match kind {
        Kind::Offer => Signed::<Offer>::open(payload, Version::V3, signer).map(drop),
        Kind::Bid => Signed::<Bid>::open(payload, Version::V3, signer).map(drop),
        Kind::Dispatch => Signed::<Dispatch>::open(payload, Version::V3, signer).map(drop),
        Kind::Commit => Signed::<Commit>::open(payload, Version::V3, signer).map(drop),
        Kind::Verify => Signed::<Verify>::open(payload, Version::V3, signer).map(drop),
        Kind::Settle => Signed::<Settle>::open(payload, Version::V3, signer).map(drop),
        Kind::Progress => Progress::decode(payload).map(drop),
        Kind::Fetch => Fetch::decode(payload).map(drop),
        Kind::Sealed => Sealed::decode(payload).map(drop),
        Kind::Engine => EngineFetch::decode(payload).map(drop),
        Kind::Published => Published::decode(payload).map(drop),
        Kind::Challenge => Signed::<Challenge>::open(payload, Version::V3, signer).map(drop),
        Kind::Response => Signed::<Response>::open(payload, Version::V3, signer).map(drop),
    }
}

/// [P-FRAME-1], [P-SIGN-1]
#[test]
fn frames_are_those_of_the_golden_vectors() {
    assert_eq!(samples().iter().map(|(k, _)| *k).collect::<Vec<_>>(), Kind::ALL);
    for (kind, payload) in samples() {
        let path = format!("{}/tests/golden/{kind}.hex", env!("CARGO_MANIFEST_DIR"));
        let frame = hex::encode(encode_frame(kind, &payload).unwrap());
        if std::env::var_os("EIDER_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{frame}\n")).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert_eq!(frame, golden.trim(), "{kind}: the wire format changed; that is a new version of the protocol");
        decode(kind, &payload, identity().node_id()).unwrap();
    }
}

/// [P-SEAL-1]: what is under a Dispatch's seal.
#[test]
fn a_task_is_that_of_the_golden_vector() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/task.hex");
    let mut bytes = vec![];
    ciborium::into_writer(&task(), &mut bytes).unwrap();
    if std::env::var_os("EIDER_WRITE_GOLDEN").is_some() {
        std::fs::write(path, format!("{}\n", hex::encode(&bytes))).unwrap();
    }
    assert_eq!(hex::encode(&bytes), std::fs::read_to_string(path).unwrap().trim());
    assert_eq!((Task::parse(&bytes), task().size()), (Some(task()), bytes.len()));
}

#[test]
fn every_flipped_byte_of_a_signed_message_is_refused() {
    for (kind, payload) in samples().into_iter().filter(|(k, _)| !is_unsigned(*k)) {
        for i in 0..payload.len() {
            let mut bad = payload.clone();
            bad[i] ^= 1;
            assert!(decode(kind, &bad, identity().node_id()).is_err(), "{kind}: byte {i} does not matter");
        }
    }
}

#[test]
fn what_another_has_signed_is_nobody_elses() {
    let other = Identity::from_seed([1; 32]).node_id();
    for (kind, payload) in samples() {
        match decode(kind, &payload, other) {
            Ok(()) => assert!(is_unsigned(kind), "{kind}"),
            Err(e) => assert!(matches!(e, DecodeError::WrongSigner { expected, .. } if expected == other), "{e}"),
        }
    }
}

#[test]
fn a_signature_for_one_kind_is_none_for_another() {
    let verify = Signed::sign(&identity(), Version::V3, Verify { offer: job(), root: hash(2), offset: 0 });
    let wrong = Signed::<Settle>::open(&verify.to_payload(), Version::V3, identity().node_id());
    assert_eq!(wrong.unwrap_err(), DecodeError::BadSignature(Kind::Settle));
    let stranger = Identity::from_seed([1; 32]).node_id();
    let wrong = Signed::<Verify>::open(&verify.to_payload(), Version::V3, stranger).unwrap_err();
    assert_eq!(wrong.reset_code(), ResetCode::WrongPeer);
}

#[test]
fn a_sealed_task_is_for_one_key_worker_job_and_evidence() {
    let (key, other) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
    let node = identity().node_id();
    let (sealed, _) = task().seal(job(), node, key.public(), Some(hash(1))).unwrap();
    assert_eq!(key.open(&sealed, Some(hash(1))).unwrap().0, task());
    assert!(other.open(&sealed, Some(hash(1))).is_err() && key.open(&sealed, None).is_err());
    assert!(key.open(&sealed, Some(hash(2))).is_err());
    let moved = Dispatch { offer: OfferId::from_bytes([1; 32]), ..sealed.clone() };
    assert!(key.open(&moved, Some(hash(1))).is_err());
    let moved = Dispatch { worker: NodeId::from_bytes([1; 32]), ..sealed };
    assert!(key.open(&moved, Some(hash(1))).is_err());
    assert_eq!(task().seal(job(), node, [0; 32], None).unwrap_err(), SealError);
}

#[test]
fn header_bounds_a_payload_before_it_is_read() {
    for kind in Kind::ALL {
        let header = |n: u32| [&[*kind as u8][..], &n.to_be_bytes()].concat().try_into().unwrap();
        let max = u32::try_from(kind.max_bytes()).unwrap();
        assert!(FrameHeader::parse(header(max)).is_ok());
        assert!(matches!(FrameHeader::parse(header(max + 1)), Err(FrameError::TooLarge { .. })));
    }
    assert_eq!(FrameHeader::parse([0; 5]), Err(FrameError::UnknownKind(0)));
}

#[test]
fn reset_codes_come_back_from_the_wire() {
    for code in ResetCode::ALL {
        assert_eq!(ResetCode::from_code(code.code().into()), Some(*code));
    }
    assert_eq!(ResetCode::from_code(0xffff), None);
}

#[test]
fn manifests_with_bad_names_are_refused() {
    let entry =
        |table: &str, file: &str| InputEntry { table: table.into(), file: file.into(), ..task().inputs[0].clone() };
    assert_eq!(manifest_check(&[entry("a", "a/x"), entry("a", "a/y")]), Ok(()));
    assert!(matches!(manifest_check(&[entry("1a", "1a/x")]), Err(ManifestError::TableName(_))));
    assert!(matches!(manifest_check(&[entry("a\"", "a\"/x")]), Err(ManifestError::TableName(_))));
    assert!(matches!(manifest_check(&[entry("a", "b/x")]), Err(ManifestError::FileName(_))));
    for name in ["a/../x", "a/..", "a/.", "a/", "a/x\n"] {
        assert!(matches!(manifest_check(&[entry("a", name)]), Err(ManifestError::FileName(_))), "{name:?}");
    }
    assert!(matches!(manifest_check(&[entry("a", "a/x"), entry("a", "a/x")]), Err(ManifestError::Twice(_))));
    let csv = InputEntry { format: Format::Csv, ..entry("A", "A/x") };
    assert!(matches!(manifest_check(&[entry("a", "a/x"), csv]), Err(ManifestError::Mixed(_))));
}

fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let metering = || {
        (any::<Option<u64>>(), any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(fuel, bytes_read, reads, memory)| Metering { fuel, bytes_read, reads, memory })
    };
    prop_oneof![
        (any_hash(), any::<u64>(), any::<u64>(), metering())
            .prop_map(|(root, length, rows, metering)| Outcome::Completed { root, length, rows, metering }),
        (".{0,200}", metering()).prop_map(|(message, metering)| Outcome::Failed {
            kind: FailureKind::Query,
            message,
            metering
        }),
    ]
}

fn round_trip<T: Body + Clone + PartialEq + std::fmt::Debug>(message: T) {
    let signed = Signed::sign(&identity(), Version::V3, message.clone());
    let back = Signed::<T>::open(&signed.to_payload(), Version::V3, identity().node_id()).unwrap();
    assert_eq!(back.message(), &message);
    assert_eq!(back, signed);
}

proptest! {
    #[test]
    fn messages_survive_the_wire(
        nonce in any::<[u8; 32]>(), bytes in any::<u64>(), h in any_hash(), sql in ".{0,300}", outcome in any_outcome(),
        time_us in any::<i64>(), price in any::<u64>(), detail in ".{0,100}", done in any::<u32>(),
    ) {
        round_trip(Offer { nonce, task: h, inputs: InputsSummary { count: done, bytes }, ..offer() });
        round_trip(bid(Ok(Accept { eta_ms: bytes, price, free_memory: bytes, free_jobs: done })));
        round_trip(bid(Err(Decline { reason: DeclineReason::Busy, detail })));
        let key = SealingKey::generate().unwrap();
        let task = Task { sql, time_us, seed: nonce, ..task() };
        let (sealed, _) = task.seal(job(), identity().node_id(), key.public(), Some(h)).unwrap();
        round_trip(sealed.clone());
        prop_assert_eq!(key.open(&sealed, Some(h)).unwrap().0, task);
        prop_assert_eq!(outcome.digest(), outcome.clone().digest());
        round_trip(Commit { offer: job(), task: hash(5), price: 3, outcome });
        round_trip(Verify { offer: job(), root: h, offset: bytes });
        round_trip(Settle { offer: job(), task: hash(5), price: 3, worker: NodeId::from_bytes(nonce), verdict: Verdict::Agreed, digest: h });
        let progress = Progress { stage: Stage::Preparing, done, bytes_read: bytes };
        prop_assert_eq!(Progress::decode(&progress.to_payload()).unwrap(), progress);
        let fetch = Fetch { offer: job(), index: done, start: bytes, end: price };
        prop_assert_eq!(Fetch::decode(&fetch.to_payload()).unwrap(), fetch);
        let announced = Sealed { offer: OfferId::from_bytes(*h.as_bytes()), salt: nonce };
        prop_assert_eq!(Sealed::decode(&announced.to_payload()).unwrap(), announced);
        for asked in [component(bytes, price), EngineFetch { engine: h, part: EnginePart::Bundle }] {
            prop_assert_eq!(EngineFetch::decode(&asked.to_payload()).unwrap(), asked);
        }
        let published = Published { root: h, length: bytes };
        prop_assert_eq!(Published::decode(&published.to_payload()).unwrap(), published);
    }

    #[test]
    fn noise_is_refused_without_a_panic(kind in 0..Kind::ALL.len(), noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(Kind::ALL[kind], &noise, identity().node_id());
    }
}
