//! A job's inputs: served by its requester, through the cache.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use eider_inputs::{CacheError, InputCache, Lease, ReadError};
use eider_net::{BlobError, BlobSink, Connection, Pace, StreamError};
use eider_protocol::{Fetch, Hash, InputEntry, JobSecret, Kind, Lane, NodeId, ResetCode, SealedError};
use eider_runner::{InputReader, Reading};
use eider_sandbox::BrokerError;

/// A requester that serves its inputs more slowly than this loses the job that waits for them.
const PACE: Pace = Pace { least: 64 << 10, within: Duration::from_secs(20) };
/// How often a range is read again that this machine's disk gave back otherwise than it was given.
const READS_MAX: u32 = 3;
/// It opens a stream and takes a request in this time.
const ASK: Duration = Duration::from_secs(10);

/// Inputs that the requester serves, on streams that are sealed with the job's key. Nothing of the cache is opened or made for
/// them before they are read.
pub(crate) struct RemoteInputs<'a> {
    connection: &'a Connection,
    secret: JobSecret,
    entries: Vec<InputEntry>,
    leases: Vec<Lease>,
}

/// What a requester's input is cached under: who knows the hash of another's file can neither read it here nor learn that it is here.
/// The price is that a file which two requesters have travels twice.
fn own_name(requester: NodeId, hash: Hash) -> Hash {
    let mut h = blake3::Hasher::new();
    h.update(b"eider/2 cached input\0").update(requester.as_bytes()).update(hash.as_bytes());
    h.finalize().into()
}

impl InputReader for RemoteInputs<'_> {
    fn read<'b>(&'b self, index: u32, offset: u64, into: &'b mut [u8]) -> Reading<'b> {
        Box::pin(self.read_range(index, offset, into))
    }
}

impl<'a> RemoteInputs<'a> {
    pub(crate) fn new(
        cache: &InputCache,
        connection: &'a Connection,
        secret: &JobSecret,
        entries: &[InputEntry],
    ) -> Self {
        let own = |hash: Hash| own_name(connection.node(), hash);
        let leases = entries.iter().map(|e| cache.lease(own(e.hash), e.size, connection.node())).collect();
        Self { connection, secret: secret.clone(), entries: entries.to_vec(), leases }
    }

    async fn read_range(&self, index: u32, offset: u64, into: &mut [u8]) -> Result<(), BrokerError> {
        let (info, lease) = (&self.entries[index as usize], &self.leases[index as usize]);
        let end = offset + into.len() as u64;
        let mut tries = 0;
        loop {
            while !into.is_empty() && lease.next_missing(offset, end).is_some() {
                // Jobs of this requester fetch one after the other; those of others do not wait for it.
                let _alone = lease.fetching().await;
                let Some((start, stop)) = lease.next_missing(offset, end) else { break };
                self.fetch(index, lease, start, stop).await?;
            }
            match lease.read_at(offset, into).await {
                Err(ReadError::Lost) if tries < READS_MAX => tries += 1,
                read => return read.map_err(|e| BrokerError::InputUnavailable(info.table.clone(), e.to_string())),
            }
        }
    }

    /// Fetches missing spans, once more if the stream breaks while the connection stands.
    async fn fetch(&self, index: u32, lease: &Lease, start: u64, end: u64) -> Result<(), BrokerError> {
        let info = &self.entries[index as usize];
        let unavailable = |why: String| BrokerError::InputUnavailable(info.table.clone(), why);
        let of_cache = |e: CacheError| unavailable(e.to_string());
        let room = lease.reserve(start, end).map_err(of_cache)?;
        let mut fetched = self.fetch_once(index, start, end).await;
        if matches!(fetched, Err(BlobError::Stream(StreamError::Ended | StreamError::Sealed(SealedError::Cut)))) {
            fetched = self.fetch_once(index, start, end).await;
        }
        match fetched {
            Ok(bytes) => lease.fill(room, start, bytes).await.map_err(of_cache),
            Err(BlobError::Stream(StreamError::Reset(ResetCode::InputChanged))) => Err(BrokerError::InputChanged(
                info.table.clone(),
                "the requester's file is no longer what it pinned".into(),
            )),
            Err(e) => Err(unavailable(e.to_string())),
        }
    }

    async fn fetch_once(&self, index: u32, start: u64, end: u64) -> Result<Vec<u8>, BlobError> {
        let info = &self.entries[index as usize];
        let fetch = Fetch { offer: self.secret.offer(), index, start, end };
        let asked = async {
            let mut stream = self.connection.open().await?;
            stream.ask(&self.secret, Lane::Fetch)?;
            stream.sender.frame_within(Kind::Fetch, &fetch.to_payload(), ASK).await?;
            stream.sender.finish().await;
            Ok::<_, StreamError>(stream)
        };
        let mut stream = tokio::time::timeout(ASK, asked).await.map_err(|_| BlobError::Slow)??;
        let mut sink = Gathered { start, bytes: Vec::with_capacity(usize::try_from(end - start).unwrap_or(0)) };
        let (root, range) = (info.hash.into(), (start, end));
        eider_net::receive(&mut stream.receiver, root, info.size, range, &mut sink, PACE).await?;
        Ok(sink.bytes)
    }
}

/// Verified bytes, in order: at most what the cache asks for at a time.
struct Gathered {
    start: u64,
    bytes: Vec<u8>,
}

impl BlobSink for Gathered {
    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        if offset != self.start + self.bytes.len() as u64 {
            return Err(io::Error::other("groups out of order"));
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}
