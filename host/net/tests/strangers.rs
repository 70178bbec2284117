//! What a peer that is slow, silent or greedy can do to the other end of a connection.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use eider_net::{
    BlobError, BlobSink, ConnectError, Endpoint, JobStream, Outbox, Pace, ReadAt, Source, StreamError, file_outboard,
};
use eider_protocol::{Identity, Kind, Progress, ResetCode, Stage, Version};
use tokio::time::{sleep, timeout};

use common::{Pair, pair};

/// A time in which a peer that reads would have read, and that one which does not read is given.
const SHORT: Duration = Duration::from_millis(300);
/// As long as it takes.
const LONG: Duration = Duration::from_secs(60);

impl Pair {
    /// A stream, from its opener and from the other side.
    async fn stream(&self) -> (JobStream, JobStream) {
        let mut ours = self.dialled.open().await.unwrap();
        ours.sender.frame(Kind::Offer, b"hello").await.unwrap();
        let mut theirs = self.accepted.accept().await.unwrap();
        assert_eq!(theirs.receiver.expect_of(&[Kind::Offer]).await.unwrap().payload, b"hello");
        (ours, theirs)
    }
}

#[tokio::test]
async fn a_frame_of_a_kind_that_cannot_come_is_refused_at_its_header() {
    let pair = pair().await;
    let (mut ours, mut theirs) = pair.stream().await;
    // A Dispatch that claims 4 MiB, of which nothing ever comes.
    ours.sender.bytes(Bytes::from_static(&[Kind::Dispatch as u8, 0, 0x40, 0, 0])).await.unwrap();
    let got = theirs.receiver.frame_of(&[Kind::Offer, Kind::Verify]).await;
    assert!(matches!(got, Err(StreamError::Unexpected(Kind::Dispatch))), "{got:?}");
}

#[tokio::test]
async fn reading_a_frame_may_be_dropped_at_any_byte() {
    let pair = pair().await;
    let (mut ours, mut theirs) = pair.stream().await;
    let writing = async {
        for _ in 0..3 {
            for byte in [Kind::Fetch as u8, 0, 0, 0, 3, b'a', b'b', b'c'] {
                ours.sender.bytes(vec![byte].into()).await.unwrap();
                sleep(Duration::from_millis(3)).await;
            }
        }
        ours.sender.bytes(vec![Kind::Fetch as u8, 0].into()).await.unwrap();
        ours.sender.finish().await;
    };
    let reading = async {
        for _ in 0..3 {
            let frame = loop {
                if let Ok(frame) = timeout(Duration::from_millis(1), theirs.receiver.frame_of(&[Kind::Fetch])).await {
                    break frame.unwrap().unwrap();
                }
            };
            assert_eq!(frame.payload, b"abc");
        }
        assert!(matches!(theirs.receiver.frame_of(&[Kind::Fetch]).await, Err(StreamError::Ended)));
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn a_large_frame_arrives_through_narrow_windows() {
    let pair = pair().await;
    let (mut ours, mut theirs) = pair.stream().await;
    let payload: Vec<u8> = (0..4u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (sent, got) = tokio::join!(
        ours.sender.frame_within(Kind::Dispatch, &payload, LONG),
        theirs.receiver.expect_of(&[Kind::Dispatch])
    );
    sent.unwrap();
    assert!(got.unwrap().payload == payload);
}

#[tokio::test]
async fn a_peer_that_does_not_read_costs_a_limit_and_sees_no_breach() {
    let pair = pair().await;
    let (mut ours, mut theirs) = pair.stream().await;
    let large = vec![0; 4 << 20];
    let stalled = ours.sender.frame_within(Kind::Dispatch, &large, SHORT).await.unwrap_err();
    assert!(matches!(stalled, StreamError::Stalled) && stalled.reset_code().is_none());
    // Nothing follows half a frame.
    assert!(matches!(ours.sender.frame(Kind::Settle, b"x").await, Err(StreamError::Stalled)));
    drop(ours);
    let got = theirs.receiver.expect_of(&[Kind::Dispatch]).await;
    assert!(matches!(got, Err(StreamError::Reset(ResetCode::Cancelled))), "{got:?}");
}

#[tokio::test]
async fn a_dropped_write_resets_instead_of_finishing() {
    let pair = pair().await;
    let (mut ours, mut theirs) = pair.stream().await;
    let large = vec![0; 4 << 20];
    assert!(timeout(SHORT, ours.sender.frame(Kind::Dispatch, &large)).await.is_err());
    ours.sender.finish().await;
    let got = theirs.receiver.expect_of(&[Kind::Dispatch]).await;
    assert!(matches!(got, Err(StreamError::Reset(ResetCode::Cancelled))), "{got:?}");
}

fn progress(done: u32) -> Progress {
    Progress { stage: Stage::Running, done, bytes_read: 0 }
}

/// Has a Progress leave again and again until nothing more of the stream fits into the peer's windows.
async fn say_until_unread(outbox: &Outbox) -> StreamError {
    let mut ticks = 0;
    loop {
        tokio::select! {
            reason = outbox.failed() => return reason,
            () = tokio::task::yield_now() => {
                ticks += 1;
                outbox.progress(&progress(ticks));
            }
        }
    }
}

#[tokio::test]
async fn an_outbox_never_stops_a_loop_whose_peer_does_not_read() {
    let pair = pair().await;
    let (ours, theirs) = pair.stream().await;
    let outbox = Outbox::new(ours.sender, SHORT);
    let reason = timeout(LONG, say_until_unread(&outbox)).await.unwrap();
    assert!(matches!(reason, StreamError::Stalled), "{reason}");
    assert_eq!(reason.code(), ResetCode::Stalled);
    assert!(matches!(outbox.into_sender().await, Err(StreamError::Stalled)));
    drop(theirs);
}

#[tokio::test]
async fn an_outbox_keeps_only_the_latest_progress_and_none_follows_what_is_sent_after_it() {
    let pair = pair().await;
    let (ours, mut theirs) = pair.stream().await;
    let outbox = Outbox::new(ours.sender, LONG);
    // The writer has not run yet.
    for done in 0..1_000 {
        outbox.progress(&progress(done));
    }
    let kinds = [Kind::Progress, Kind::Commit];
    assert_eq!(theirs.receiver.expect_of(&kinds).await.unwrap().progress().unwrap().done, 999);
    outbox.progress(&progress(1_000));
    let mut sender = outbox.into_sender().await.unwrap();
    sender.frame(Kind::Commit, b"c").await.unwrap();
    sender.finish().await;
    let mut came = Vec::new();
    while let Some(frame) = theirs.receiver.frame_of(&kinds).await.unwrap() {
        came.push(frame.kind);
    }
    assert_eq!(came.last(), Some(&Kind::Commit));
    assert!(came.len() <= 2, "{came:?}");
}

#[tokio::test]
async fn an_outbox_that_goes_resets_the_stream() {
    let pair = pair().await;
    for code in [None, Some(ResetCode::ShuttingDown)] {
        let (ours, mut theirs) = pair.stream().await;
        let outbox = Outbox::new(ours.sender, LONG);
        // It is in the middle of a frame, as far as the peer can tell.
        let _ = timeout(SHORT, say_until_unread(&outbox)).await;
        match code {
            Some(code) => outbox.reset(code),
            None => drop(outbox),
        }
        let got = loop {
            match theirs.receiver.expect_of(&[Kind::Progress]).await {
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        let code = code.unwrap_or(ResetCode::Cancelled);
        assert!(matches!(got, StreamError::Reset(c) if c == code), "{got:?}");
    }
}

struct Zeros(AtomicUsize);

impl ReadAt for Zeros {
    fn read_exact_at(&self, _: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.fetch_add(into.len(), Ordering::Relaxed);
        into.fill(0);
        Ok(())
    }
}

const BLOB: u64 = 24 << 20;

fn zeros() -> (Source, Arc<Zeros>) {
    let outboard = file_outboard(&mut io::Read::take(io::repeat(0), BLOB), BLOB).unwrap();
    let zeros = Arc::new(Zeros(AtomicUsize::new(0)));
    (Source { bytes: zeros.clone(), outboard: Arc::new(outboard), checked: true }, zeros)
}

struct Count(u64);

impl BlobSink for Count {
    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        assert_eq!(offset, self.0);
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

#[test]
fn unread_deliveries_hold_no_thread_and_little_memory() {
    // Two threads for blocking work, so that three deliveries of the old kind would have stopped all.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (source, read) = zeros();
        let root = source.outboard.root();
        let (greedy, honest) = (pair().await, pair().await);
        let mut unread = Vec::new();
        let patient = Pace { least: 1, within: LONG };
        for _ in 0..40 {
            let (ours, mut theirs) = greedy.stream().await;
            let source = source.clone();
            let sending =
                tokio::spawn(async move { eider_net::send(&mut theirs.sender, &source, 0, BLOB, patient).await });
            unread.push((ours, sending));
        }
        sleep(SHORT).await;
        let held = read.0.load(Ordering::Relaxed);
        assert!(held < 40 * (1 << 20), "{held}");
        let (mut ours, mut theirs) = honest.stream().await;
        let mut sink = Count(0);
        let (sent, got) = tokio::join!(
            eider_net::send(&mut theirs.sender, &source, 0, BLOB, patient),
            eider_net::receive(&mut ours.receiver, root, BLOB, (0, BLOB), &mut sink, patient),
        );
        sent.unwrap();
        got.unwrap();
        assert_eq!(sink.0, BLOB);
        assert!(unread.iter().all(|(_, sending)| !sending.is_finished()));
    });
}

#[tokio::test]
async fn a_peer_that_does_not_read_a_blob_is_slow_and_sees_a_reset() {
    let pair = pair().await;
    let (source, _) = zeros();
    let (mut ours, mut theirs) = pair.stream().await;
    let pace = Pace { least: 64 << 10, within: SHORT };
    let patient = Pace { least: 1, within: LONG };
    let sent = eider_net::send(&mut theirs.sender, &source, 0, BLOB, pace).await;
    assert!(matches!(sent, Err(BlobError::Slow)), "{sent:?}");
    assert!(theirs.sender.frame(Kind::Settle, b"x").await.is_err());
    drop(theirs);
    let root = source.outboard.root();
    let got = eider_net::receive(&mut ours.receiver, root, BLOB, (0, BLOB), &mut Count(0), patient).await;
    assert!(matches!(got, Err(BlobError::Stream(StreamError::Reset(ResetCode::Cancelled)))), "{got:?}");
}

#[tokio::test]
async fn a_peer_that_does_not_send_a_blob_is_slow() {
    let pair = pair().await;
    let (mut ours, _theirs) = pair.stream().await;
    let pace = Pace { least: 1, within: SHORT };
    let root = blake3::hash(b"x");
    let got = eider_net::receive(&mut ours.receiver, root, 1, (0, 1), &mut Count(0), pace).await;
    assert!(matches!(got, Err(BlobError::Slow)), "{got:?}");
}

/// How many frames of a MiB the accepted side holds unread, on streams of four each so that no stream's window counts.
async fn unread_mib(pair: &Pair) -> usize {
    let mib = vec![0; 1 << 20];
    let mut held = Vec::new();
    let mut count = 0;
    loop {
        let (mut ours, theirs) = pair.stream().await;
        for _ in 0..4 {
            if ours.sender.frame_within(Kind::Dispatch, &mib, 4 * SHORT).await.is_err() {
                return count;
            }
            count += 1;
        }
        held.push((ours, theirs));
    }
}

#[tokio::test]
async fn a_stranger_is_given_little_and_jobs_without_end_no_more_than_one_job() {
    let (narrow, wide) = (pair().await, pair().await);
    // The peers spare no memory of their own: what counts is what we let them send.
    let _send_all = [narrow.dialled.widen(), wide.dialled.widen()];
    let held = timeout(LONG, unread_mib(&narrow)).await.unwrap();
    assert_eq!(held, 0);
    assert!(!wide.accepted.spent());
    for _ in 0..100 {
        drop(wide.accepted.widen());
    }
    assert!(wide.accepted.spent());
    let held = timeout(LONG, unread_mib(&wide)).await.unwrap();
    assert!((1..=16).contains(&held), "{held}");
}

#[tokio::test]
async fn more_streams_are_open_while_a_job_is() {
    let pair = pair().await;
    let mut open = Vec::new();
    let mut open_all = async |count: usize| {
        // An eighth more, for of streams that have ended the peer hears late.
        open.extend(opened(&pair, count + count / 7 + 1 - open.len()).await);
        assert!(timeout(SHORT, pair.dialled.open()).await.is_err(), "{count}");
    };
    open_all(64).await;
    let job = pair.accepted.widen();
    open_all(256).await;
    drop(job);
}

async fn opened(pair: &Pair, count: usize) -> Vec<JobStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(timeout(LONG, pair.dialled.open()).await.unwrap().unwrap());
    }
    open
}

/// quinn tells a peer of streams that have ended only when enough of them have: as many as a requester may have Bids held must
/// be left whatever ended before.
#[tokio::test]
async fn streams_that_have_ended_leave_all_places_for_others() {
    let pair = pair().await;
    for ended in 0..12 {
        for _ in 0..ended {
            let (mut ours, mut theirs) = pair.stream().await;
            ours.reset(ResetCode::Cancelled);
            theirs.reset(ResetCode::Cancelled);
        }
        let open = opened(&pair, 64);
        let mut open = timeout(LONG, open).await.unwrap();
        for ours in &mut open {
            ours.sender.frame(Kind::Offer, b"hello").await.unwrap();
            let mut theirs = pair.accepted.accept().await.unwrap();
            theirs.reset(ResetCode::Cancelled);
            ours.reset(ResetCode::Cancelled);
        }
    }
}

/// [P-CONN-1]
#[tokio::test]
async fn both_ends_prove_their_keys_and_agree_on_a_version() {
    let (server_key, client_key) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let server = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &server_key).unwrap();
    let client = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &client_key).unwrap();
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let first = Endpoint::finish(server.accept().await.unwrap()).await.unwrap();
        let seen = (first.node(), first.version());
        let _second = Endpoint::finish(server.accept().await.unwrap()).await;
        // Until it is known what the other end made of it.
        first.closed().await;
        seen
    });
    let connection = client.connect(address, Some(server_key.node_id())).await.unwrap();
    assert_eq!((connection.node(), connection.version()), (server_key.node_id(), Version::V3));
    let wrong = client.connect(address, Some(client_key.node_id())).await.unwrap_err();
    assert!(matches!(wrong, ConnectError::WrongNode { actual, .. } if actual == server_key.node_id()), "{wrong}");
    connection.close(ResetCode::JobEnded);
    assert_eq!(serving.await.unwrap(), (client_key.node_id(), Version::V3));
}
