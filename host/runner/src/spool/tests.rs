#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;

use super::*;
use crate::{MemorySink, Writing};

const MIB: usize = 1 << 20;

/// Bytes that tell their place.
fn result(length: usize) -> Bytes {
    (0..length.div_ceil(8)).flat_map(|i| (i as u64).to_le_bytes()).take(length).collect::<Vec<_>>().into()
}

/// A pipe that takes a piece for each permit.
struct Gate {
    permits: Arc<Semaphore>,
    into: MemorySink,
}

impl Sink for Gate {
    fn write(&mut self, bytes: Bytes) -> Writing<'_> {
        Box::pin(async move {
            self.permits.acquire().await.unwrap().forget();
            self.into.write(bytes).await
        })
    }
}

fn gate() -> (Arc<Semaphore>, MemorySink, Box<dyn Sink>) {
    let (permits, into) = (Arc::new(Semaphore::new(0)), MemorySink::default());
    let sink = Gate { permits: permits.clone(), into: into.clone() };
    (permits, into, Box::new(sink))
}

/// All that is ever wanted.
const OPEN: usize = 1 << 20;

fn in_memory(shared: &Shared) -> usize {
    let queue = shared.queue.lock();
    queue.head.bytes + queue.tail.bytes
}

/// Writes in pieces of random sizes.
async fn write_all(writer: &mut SpoolWriter, mut bytes: Bytes, largest: usize, random: &mut StdRng) -> io::Result<()> {
    while !bytes.is_empty() {
        let length = random.random_range(1..=largest).min(bytes.len());
        writer.write(bytes.split_to(length)).await?;
        assert!(in_memory(&writer.shared) <= SPOOL_MEMORY);
    }
    Ok(())
}

/// A pipe whose reader comes late, then comes and goes.
struct Moody {
    into: MemorySink,
    random: StdRng,
    taken: usize,
}

impl Sink for Moody {
    fn write(&mut self, bytes: Bytes) -> Writing<'_> {
        Box::pin(async move {
            // Every two MiB or so, however large the pieces.
            if self.taken == 0 || self.random.random_range(0..2 * MIB) < bytes.len() {
                tokio::time::sleep(Duration::from_millis(self.random.random_range(0..20))).await;
            }
            self.taken += bytes.len();
            self.into.write(bytes).await
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_arrive_whole_and_in_order_whatever_the_sizes_and_the_sink_s_delays() {
    for seed in 0..12 {
        let (mut random, into) = (StdRng::seed_from_u64(seed), MemorySink::default());
        let bytes = result(random.random_range(0..32 * MIB));
        let sink = Moody { into: into.clone(), random: StdRng::seed_from_u64(seed + 100), taken: 0 };
        let dir = tempfile::tempdir().unwrap();
        // Room for all, for some, and for none.
        let limit = [u64::MAX, 20 << 20, 3][usize::try_from(seed % 3).unwrap()];
        let (mut writer, pump) = Spool::start(Box::new(sink), dir.path().into(), limit);
        let largest = [1 << 10, 16 << 10, 3 * MIB][random.random_range(0..3)];
        write_all(&mut writer, bytes.clone(), largest, &mut random).await.unwrap();
        let shared = writer.shared.clone();
        writer.finish();
        pump.await.unwrap().unwrap();
        assert!(into.take() == bytes, "seed {seed}: other bytes, or in another order");
        let scratch = shared.scratch.lock().await;
        let left = scratch.file.as_ref().map_or(0, |f| f.metadata().unwrap().len());
        assert_eq!((scratch.start, scratch.end, left), (0, 0, 0), "seed {seed}: the file is not empty");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has a name");
    }
}

#[tokio::test]
async fn a_stuck_sink_holds_nobody_up_and_takes_bounded_memory() {
    let (permits, into, sink) = gate();
    let (mut writer, pump) = Spool::start(sink, std::env::temp_dir(), 1 << 30);
    let bytes = result(100 * MIB);
    // All of it is taken though the sink takes nothing.
    write_all(&mut writer, bytes.clone(), 256 << 10, &mut StdRng::seed_from_u64(1)).await.unwrap();
    assert!(writer.shared.queue.lock().spilled > 90 << 20);
    assert!(into.take().is_empty());
    permits.add_permits(OPEN);
    writer.finish();
    pump.await.unwrap().unwrap();
    assert!(into.take() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_grow_makes_the_writer_wait_and_not_fail() {
    let nowhere = std::env::temp_dir().join("no-such-folder-of-a-spool");
    for (folder, limit) in [(std::env::temp_dir(), 3), (std::env::temp_dir(), 5 << 20), (nowhere, u64::MAX)] {
        let (permits, into, sink) = gate();
        let (mut writer, pump) = Spool::start(sink, folder, limit);
        let (bytes, shared) = (result(30 * MIB), writer.shared.clone());
        let writing = tokio::spawn({
            let bytes = bytes.clone();
            async move {
                write_all(&mut writer, bytes, 64 << 10, &mut StdRng::seed_from_u64(2)).await.unwrap();
                writer.finish();
            }
        });
        // Full: the tail has no room for one more piece.
        while shared.queue.lock().tail.bytes + (64 << 10) <= PIECE {
            tokio::task::yield_now().await;
        }
        assert!(!writing.is_finished() && !pump.is_finished());
        permits.add_permits(OPEN);
        writing.await.unwrap();
        pump.await.unwrap().unwrap();
        assert!(into.take() == bytes);
    }
}

/// A reader that has enough.
struct Closed;

impl Sink for Closed {
    fn write(&mut self, _: Bytes) -> Writing<'_> {
        Box::pin(async {
            tokio::task::yield_now().await;
            Err(io::ErrorKind::BrokenPipe.into())
        })
    }
}

#[tokio::test]
async fn what_the_sink_fails_with_reaches_the_writer_also_while_it_waits() {
    for limit in [0, u64::MAX] {
        let (mut writer, pump) = Spool::start(Box::new(Closed), std::env::temp_dir(), limit);
        let failed = loop {
            if let Err(e) = writer.write(result(300 << 10)).await {
                break e;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(in_memory(&writer.shared), 0);
        assert_eq!(pump.await.unwrap().err().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
    // And an aborted pump is no sink any more.
    let (_permits, _, sink) = gate();
    let (mut writer, pump) = Spool::start(sink, std::env::temp_dir(), 0);
    tokio::task::yield_now().await;
    pump.abort();
    while writer.write(result(300 << 10)).await.is_ok() {}
}

#[tokio::test]
async fn a_writer_that_is_dropped_ends_the_pump_though_the_sink_is_stuck() {
    let (permits, into, sink) = gate();
    let (mut writer, pump) = Spool::start(sink, std::env::temp_dir(), 1 << 30);
    permits.add_permits(1);
    writer.write(result(1000)).await.unwrap();
    while permits.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    writer.write(result(20 * MIB)).await.unwrap();
    drop(writer);
    let Err(e) = pump.await.unwrap() else { panic!("the sink was given back as if it had all") };
    assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(into.take(), result(1000));
}
