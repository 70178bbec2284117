//! An engine's bundle and component, from a requester that hands it out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eider_engines::{BUNDLE_MAX, Bundle, Digests, EngineStore, Part, StoreError};
use eider_net::{BlobSink, Connection, JobStream, Pace, StreamError};
use eider_protocol::{EngineFetch, EnginePart, Hash, Kind, Published};

use super::{Why, own};

/// A requester that serves more slowly than this is given up; what came stays, and another can go on.
const PACE: Pace = Pace { least: 64 << 10, within: Duration::from_secs(10) };
/// It opens a stream and takes a request in this time, and says in it how much it has.
const ASK: Duration = Duration::from_secs(10);
/// All of a bundle.
const BUNDLE: Duration = Duration::from_secs(60);
/// All of a component: this, and the time of its bytes at [`RATE`].
const COMPONENT: Duration = Duration::from_secs(60);
/// Bytes a second below which nobody waits for a component.
const RATE: u64 = 256 << 10;

fn broken(e: impl std::fmt::Display) -> Why {
    Why::Broken(format!("the engine cannot be had: {e}"))
}

async fn asked(connection: &Connection, engine: Hash, part: EnginePart) -> Result<JobStream, Why> {
    let asked = async {
        let mut stream = connection.open().await?;
        stream.sender.frame_within(Kind::Engine, &EngineFetch { engine, part }.to_payload(), ASK).await?;
        stream.sender.finish().await;
        Ok::<_, StreamError>(stream)
    };
    tokio::time::timeout(ASK, asked).await.map_err(broken)?.map_err(broken)
}

/// What is published of an engine, as a requester has it.
pub(super) async fn bundle(connection: &Connection, engine: Hash) -> Result<Bundle, Why> {
    let mut stream = asked(connection, engine, EnginePart::Bundle).await?;
    let received = async {
        let frame = tokio::time::timeout(ASK, stream.receiver.expect_of(&[Kind::Published])).await;
        let frame = frame.map_err(broken)?.map_err(broken)?;
        let Published { root, length } = Published::decode(&frame.payload).map_err(broken)?;
        if length > BUNDLE_MAX as u64 {
            return Err(Why::Refused(format!("its bundle has {length} bytes; at most {BUNDLE_MAX} are read")));
        }
        let mut sink = InMemory(vec![]);
        let range = (0, length);
        eider_net::receive(&mut stream.receiver, root.into(), length, range, &mut sink, PACE).await.map_err(broken)?;
        Bundle::parse(&sink.0).map_err(|e| Why::Refused(e.to_string()))
    };
    tokio::time::timeout(BUNDLE, received).await.map_err(broken)?
}

/// A component, into the store, from where it broke off.
pub(super) async fn component(
    connection: &Connection,
    store: &Arc<EngineStore>,
    digests: &Digests,
    on: impl Fn(u64) + Send,
) -> Result<(), Why> {
    let stored = |e: StoreError| match e {
        StoreError::Manifest(e) => Why::Useless(e.to_string()),
        e => broken(e),
    };
    let (engine, size) = (digests.blake3, digests.size);
    let of = store.clone();
    let part = tokio::task::spawn_blocking(move || of.part(&engine, size)).await;
    let mut part = part.map_err(own)?.map_err(stored)?;
    let start = part.have();
    on(start);
    if start < size {
        let mut stream = asked(connection, engine, EnginePart::Component { start, end: size }).await?;
        let mut sink = ToPart { part: &mut part, on };
        let received = eider_net::receive(&mut stream.receiver, engine.into(), size, (start, size), &mut sink, PACE);
        let time = COMPONENT + Duration::from_secs(size / RATE);
        tokio::time::timeout(time, received).await.map_err(broken)?.map_err(broken)?;
    }
    let (store, digests) = (store.clone(), digests.clone());
    let completed = tokio::task::spawn_blocking(move || store.complete(part, &digests)).await;
    completed.map_err(own)?.map_err(stored)
}

struct InMemory(Vec<u8>);

impl BlobSink for InMemory {
    async fn write(&mut self, _: u64, bytes: Bytes) -> io::Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }
}

struct ToPart<'a, F> {
    part: &'a mut Part,
    on: F,
}

impl<F: Fn(u64) + Send> BlobSink for ToPart<'_, F> {
    async fn write(&mut self, _: u64, bytes: Bytes) -> io::Result<()> {
        // A write to the page cache, as for results.
        self.part.append(&bytes)?;
        (self.on)(self.part.have());
        Ok(())
    }
}
