//! Streams that are sealed with a job's key, and what somebody between can do to them.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eider_net::{BlobError, BlobSink, JobStream, Pace, Source, StreamError, file_outboard};
use eider_protocol::{
    Fault, JobSecret, Kind, Lane, NodeId, OfferId, ResetCode, SealedError, Sealer, SealingKey, Task, encode_frame,
};
use tokio::time::{sleep, timeout};

use common::{Pair, pair};

const PACE: Pace = Pace { least: 1, within: Duration::from_secs(60) };

/// What both ends of a Dispatch have.
fn secret() -> JobSecret {
    let task = Task { sql: "SELECT 1".into(), inputs: vec![], time_us: 0, seed: [0; 32], salt: [0; 32] };
    let key = SealingKey::generate().unwrap();
    let (offer, worker) = (OfferId::from_bytes([9; 32]), NodeId::from_bytes([8; 32]));
    let (dispatch, ours) = task.seal(offer, worker, key.public(), None).unwrap();
    let (_, theirs) = key.open(&dispatch, None).unwrap();
    assert_eq!((ours.offer(), ours.salt()), (theirs.offer(), dispatch.enc));
    theirs
}

/// Takes a question from the other side.
async fn asked(pair: &Pair, secret: &JobSecret) -> JobStream {
    let mut stream = pair.accepted.accept().await.unwrap();
    let announced = stream.receiver.expect_of(&[Kind::Sealed]).await.unwrap().sealed().unwrap();
    stream.asked(secret, Lane::Fetch, &announced).unwrap();
    stream
}

struct Gathered(Vec<u8>);

impl BlobSink for Gathered {
    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        assert_eq!(offset, self.0.len() as u64);
        self.0.extend_from_slice(&bytes);
        Ok(())
    }
}

/// [P-SEAL-3], [P-SEAL-4]
#[tokio::test]
async fn question_and_answer_travel_sealed_and_end() {
    let (pair, secret) = (pair().await, secret());
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let size = bytes.len() as u64;
    let outboard = file_outboard(&mut &bytes[..], size).unwrap();
    let root = outboard.root;
    let source = Source { bytes: Arc::new(bytes.clone()), outboard: Arc::new(outboard), checked: true };
    let asking = async {
        let mut stream = pair.dialled.open().await.unwrap();
        stream.ask(&secret, Lane::Fetch).unwrap();
        stream.sender.frame(Kind::Fetch, b"give").await.unwrap();
        stream.sender.frame(Kind::Commit, &[7; 60_000]).await.unwrap();
        stream.sender.finish().await;
        assert_eq!(stream.receiver.expect_of(&[Kind::Settle]).await.unwrap().payload, b"here");
        let mut sink = Gathered(vec![]);
        eider_net::receive(&mut stream.receiver, root, size, (0, size), &mut sink, PACE).await.unwrap();
        assert!(sink.0 == bytes);
        assert_eq!(stream.receiver.expect_of(&[Kind::Settle]).await.unwrap().payload, b"after");
        assert!(stream.receiver.frame_of(Kind::ALL).await.unwrap().is_none());
    };
    let answering = async {
        let mut stream = asked(&pair, &secret).await;
        assert_eq!(stream.receiver.expect_of(&[Kind::Fetch]).await.unwrap().payload, b"give");
        assert_eq!(stream.receiver.expect_of(&[Kind::Commit]).await.unwrap().payload, [7; 60_000]);
        assert!(stream.receiver.frame_of(Kind::ALL).await.unwrap().is_none());
        stream.sender.frame(Kind::Settle, b"here").await.unwrap();
        eider_net::send(&mut stream.sender, &source, 0, size, PACE).await.unwrap();
        stream.sender.frame(Kind::Settle, b"after").await.unwrap();
        stream.sender.finish().await;
        stream.sender.delivered().await;
    };
    tokio::join!(asking, answering);
}

#[tokio::test]
async fn reading_a_sealed_frame_may_be_dropped_at_any_byte() {
    let (pair, secret) = (pair().await, secret());
    let (announced, mut sealer) = secret.ask(Lane::Fetch).unwrap();
    let mut wire = encode_frame(Kind::Sealed, &announced.to_payload()).unwrap();
    for _ in 0..2 {
        sealer.seal(&encode_frame(Kind::Fetch, b"abc").unwrap(), &mut wire).unwrap();
    }
    sealer.end(&mut wire).unwrap();
    let writing = async {
        let mut stream = pair.dialled.open().await.unwrap();
        for byte in wire {
            stream.sender.bytes(vec![byte].into()).await.unwrap();
            sleep(Duration::from_millis(2)).await;
        }
        stream.sender.finish().await;
        stream.sender.delivered().await;
    };
    let reading = async {
        let mut stream = asked(&pair, &secret).await;
        for _ in 0..2 {
            let frame = loop {
                if let Ok(frame) = timeout(Duration::from_millis(1), stream.receiver.frame_of(&[Kind::Fetch])).await {
                    break frame.unwrap().unwrap();
                }
            };
            assert_eq!(frame.payload, b"abc");
        }
        assert!(stream.receiver.frame_of(&[Kind::Fetch]).await.unwrap().is_none());
    };
    tokio::join!(writing, reading);
}

/// What a stranger between makes of a sealed question: all bytes after what announces it.
type Spoil = fn(&mut Sealer) -> Vec<u8>;

fn frame() -> Vec<u8> {
    encode_frame(Kind::Fetch, b"abc").unwrap()
}

fn good(sealer: &mut Sealer) -> Vec<u8> {
    let mut wire = vec![];
    sealer.seal(&frame(), &mut wire).unwrap();
    wire
}

fn ended(sealer: &mut Sealer) -> Vec<u8> {
    let mut wire = good(sealer);
    sealer.end(&mut wire).unwrap();
    wire
}

/// [P-SEAL-4], [P-SEAL-5]: after a frame that came right.
#[tokio::test]
async fn a_stream_that_is_cut_lengthened_or_changed_is_found_and_blames_nobody() {
    let (pair, secret) = (pair().await, secret());
    let cases: [(Spoil, SealedError); 7] = [
        (|_| vec![], SealedError::Cut),
        (|_| vec![0], SealedError::Cut),
        (|sealer| ended(sealer)[..30].to_vec(), SealedError::Cut),
        (frame_in_clear, SealedError::Forged),
        (|_| vec![0xff; 40], SealedError::TooLarge(0xffff)),
        (
            |sealer| {
                let mut wire = ended(sealer);
                wire[7] ^= 1;
                wire
            },
            SealedError::Forged,
        ),
        (|sealer| [ended(sealer), vec![0]].concat(), SealedError::AfterEnd),
    ];
    fn frame_in_clear(_: &mut Sealer) -> Vec<u8> {
        // Its first bytes are a record's length.
        [vec![0, 8], frame(), vec![0; 30]].concat()
    }
    for (n, (spoil, expected)) in cases.into_iter().enumerate() {
        let (announced, mut sealer) = secret.ask(Lane::Fetch).unwrap();
        let mut wire = encode_frame(Kind::Sealed, &announced.to_payload()).unwrap();
        wire.extend(good(&mut sealer));
        wire.extend(spoil(&mut sealer));
        let mut stream = pair.dialled.open().await.unwrap();
        stream.sender.bytes(wire.into()).await.unwrap();
        stream.sender.finish().await;
        let mut theirs = asked(&pair, &secret).await;
        assert_eq!(theirs.receiver.expect_of(&[Kind::Fetch]).await.unwrap().payload, b"abc");
        let e = loop {
            match theirs.receiver.frame_of(&[Kind::Fetch]).await {
                Ok(Some(frame)) => assert_eq!(frame.payload, b"abc"),
                Ok(None) => panic!("case {n}: it ended well"),
                Err(e) => break e,
            }
        };
        assert!(matches!(&e, StreamError::Sealed(e) if *e == expected), "case {n}: {e}");
        assert_eq!((e.code(), e.code().fault()), (ResetCode::Unsealed, Fault::None));
    }
}

/// [P-SEAL-2], [P-SEAL-5]
#[tokio::test]
async fn an_answer_in_clear_or_to_another_question_is_none() {
    let (pair, secret) = (pair().await, secret());
    let other = secret.ask(Lane::Fetch).unwrap().0;
    let answer = |asked: [u8; 32]| {
        let (announced, mut sealer) = secret.answer(Lane::Fetch, &asked).unwrap();
        [encode_frame(Kind::Sealed, &announced.to_payload()).unwrap(), ended(&mut sealer)].concat()
    };
    for (n, expected) in
        [None, Some(SealedError::Clear), Some(SealedError::Forged), Some(SealedError::Cut)].into_iter().enumerate()
    {
        let mut stream = pair.dialled.open().await.unwrap();
        stream.ask(&secret, Lane::Fetch).unwrap();
        stream.sender.frame(Kind::Fetch, b"give").await.unwrap();
        let mut theirs = pair.accepted.accept().await.unwrap();
        let announced = theirs.receiver.expect_of(&[Kind::Sealed]).await.unwrap().sealed().unwrap();
        let wire = [answer(announced.salt), frame(), answer(other.salt), vec![]];
        theirs.sender.bytes(wire[n].clone().into()).await.unwrap();
        theirs.sender.finish().await;
        let got = stream.receiver.expect_of(&[Kind::Fetch]).await;
        match expected {
            None => assert_eq!(got.unwrap().payload, b"abc"),
            Some(e) => assert!(matches!(&got, Err(StreamError::Sealed(got)) if *got == e), "case {n}: {got:?}"),
        }
    }
    // Bytes are no other than frames.
    let mut stream = pair.dialled.open().await.unwrap();
    stream.ask(&secret, Lane::Fetch).unwrap();
    stream.sender.frame(Kind::Fetch, b"give").await.unwrap();
    let mut theirs = pair.accepted.accept().await.unwrap();
    theirs.sender.bytes(vec![7; 20_000].into()).await.unwrap();
    let root = eider_protocol::Hash::from_bytes([1; 32]).into();
    let got = eider_net::receive(&mut stream.receiver, root, 1 << 20, (0, 1 << 20), &mut Gathered(vec![]), PACE).await;
    assert!(matches!(got, Err(BlobError::Stream(StreamError::Sealed(SealedError::Clear)))), "{got:?}");
}

/// [P-RESET-1]: slow is who moves nothing, and not whose record is not yet whole.
#[tokio::test]
async fn the_pace_of_a_sealed_stream_is_that_of_its_bytes() {
    let (pair, secret) = (pair().await, secret());
    let bytes = vec![7; 16 << 10];
    let outboard = file_outboard(&mut &bytes[..], 16 << 10).unwrap();
    let root = outboard.root;
    let pace = Pace { least: 1 << 10, within: Duration::from_secs(1) };
    for (pause, slow) in [(20, false), (900, true)] {
        let mut stream = pair.dialled.open().await.unwrap();
        stream.ask(&secret, Lane::Fetch).unwrap();
        stream.sender.frame(Kind::Fetch, b"give").await.unwrap();
        let mut theirs = pair.accepted.accept().await.unwrap();
        let announced = theirs.receiver.expect_of(&[Kind::Sealed]).await.unwrap().sealed().unwrap();
        let (announced, mut sealer) = secret.answer(Lane::Fetch, &announced.salt).unwrap();
        let mut wire = encode_frame(Kind::Sealed, &announced.to_payload()).unwrap();
        // One record: all of it must come before a byte of it counts.
        sealer.seal(&bytes, &mut wire).unwrap();
        let dripping = tokio::spawn(async move {
            for piece in wire.chunks(512) {
                let _ = theirs.sender.bytes(piece.to_vec().into()).await;
                sleep(Duration::from_millis(pause)).await;
            }
        });
        let mut sink = Gathered(vec![]);
        let got = eider_net::receive(&mut stream.receiver, root, 16 << 10, (0, 16 << 10), &mut sink, pace).await;
        assert_eq!(matches!(got, Err(BlobError::Slow)), slow, "{pause}: {got:?}");
        assert_eq!(sink.0.len(), if slow { 0 } else { 16 << 10 });
        dripping.abort();
    }
}
