//! Engines that this node hands out to workers that have not got them.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use eider_net::{BlobError, JobStream, Pace, Source, file_outboard};
use eider_protocol::{CHUNK_GROUP_BYTES, EngineFetch, EnginePart, Hash, Kind, NodeId, Published, ResetCode};
use parking_lot::Mutex;

/// Times that one worker may have a component: once, and again what broke off.
const COMPONENT_FACTOR: u64 = 2;
/// Bytes more: what comes is fetched in whole groups.
const COMPONENT_ROUNDING: u64 = 1 << 20;
/// Times that one worker may have a bundle.
const BUNDLES: u32 = 8;
/// Workers that are counted for one engine; others get nothing.
const WORKERS_MAX: usize = 65_536;
/// A worker that does not take it at this pace is cut off; it can go on where it was.
const PACE: Pace = Pace { least: 64 << 10, within: Duration::from_secs(20) };

/// An engine that can be handed out: what is published of it, and its component.
#[derive(Clone)]
pub struct Handout {
    engine: Hash,
    bundle: Source,
    component: Source,
}

impl fmt::Debug for Handout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handout({})", self.engine.short())
    }
}

impl Handout {
    /// Hashes a component of `size` bytes, which takes a moment.
    ///
    /// # Errors
    /// Reading it; [`io::ErrorKind::InvalidData`] if it is another.
    pub fn new(engine: Hash, bundle: Vec<u8>, mut component: File, size: u64) -> io::Result<Self> {
        let outboard = file_outboard(&mut component, size)?;
        if Hash::from(outboard.root) != engine {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the component is not {engine}")));
        }
        let of_bundle = file_outboard(&mut &bundle[..], bundle.len() as u64)?;
        Ok(Self {
            engine,
            bundle: Source { bytes: Arc::new(bundle), outboard: Arc::new(of_bundle), checked: false },
            component: Source { bytes: Arc::new(component), outboard: Arc::new(outboard), checked: true },
        })
    }
}

/// What one worker has had.
#[derive(Default)]
struct Had {
    bundles: u32,
    bytes: u64,
}

struct Entry {
    handout: Handout,
    had: Mutex<HashMap<NodeId, Had>>,
}

/// All that is handed out.
#[derive(Default)]
pub(crate) struct Handouts {
    table: Mutex<HashMap<Hash, Arc<Entry>>>,
}

impl Handouts {
    pub(crate) fn put(&self, handout: Handout) {
        let entry = Entry { handout, had: Mutex::default() };
        self.table.lock().insert(entry.handout.engine, Arc::new(entry));
    }

    /// Serves a stream that began with such a frame's payload.
    pub(crate) async fn serve(&self, node: NodeId, stream: &mut JobStream, payload: &[u8]) -> Result<(), ResetCode> {
        let asked = EngineFetch::decode(payload).map_err(|e| e.reset_code())?;
        let entry = self.table.lock().get(&asked.engine).cloned().ok_or(ResetCode::NotGranted)?;
        let (source, start, end) = match asked.part {
            EnginePart::Bundle => {
                let source = &entry.handout.bundle;
                entry.count(node, 1, 0)?;
                let (root, length) = (Hash::from(source.outboard.root()), source.outboard.size());
                let head = Published { root, length }.to_payload();
                stream.sender.frame_within(Kind::Published, &head, PACE.within).await.map_err(|e| e.code())?;
                (source, 0, length)
            }
            EnginePart::Component { start, end } => {
                let source = &entry.handout.component;
                let size = source.outboard.size();
                if start >= end || end != size || !start.is_multiple_of(CHUNK_GROUP_BYTES) {
                    return Err(ResetCode::Malformed);
                }
                entry.count(node, 0, end - start)?;
                (source, start, end)
            }
        };
        match eider_net::send(&mut stream.sender, source, start, end, PACE).await {
            Ok(()) => {
                stream.sender.finish_within(PACE.within).await;
                Ok(())
            }
            Err(BlobError::Stream(e)) => Err(e.reset_code().unwrap_or(ResetCode::Cancelled)),
            Err(BlobError::Slow) => Err(ResetCode::Stalled),
            Err(e) => {
                tracing::warn!("engine {} cannot be handed out: {e}", asked.engine.short());
                Err(ResetCode::InputUnavailable)
            }
        }
    }
}

impl Entry {
    fn count(&self, node: NodeId, bundles: u32, bytes: u64) -> Result<(), ResetCode> {
        let most = self.handout.component.outboard.size().saturating_mul(COMPONENT_FACTOR) + COMPONENT_ROUNDING;
        let mut all = self.had.lock();
        if all.len() >= WORKERS_MAX && !all.contains_key(&node) {
            return Err(ResetCode::TooMany);
        }
        let had = all.entry(node).or_default();
        if had.bundles + bundles > BUNDLES || had.bytes.saturating_add(bytes) > most {
            return Err(ResetCode::TooMany);
        }
        had.bundles += bundles;
        had.bytes += bytes;
        Ok(())
    }
}
