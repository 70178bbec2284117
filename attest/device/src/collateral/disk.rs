//! What is held, in one file of the node's home. It is believed no more than what comes from the network.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use eider_attest::{ENDORSEMENTS_MAX, EvidenceKind};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Bytes of all endorsements together; an envelope holds them, and evidence of up to 32 KiB, in 256 KiB.
pub(super) const HELD_MAX: usize = 160 << 10;

/// Endorsements, and when they came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// Seconds since 1970.
    pub(super) fetched: i64,
    pub(super) endorsements: Vec<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u8,
    kind: EvidenceKind,
    fetched: i64,
    endorsements: Vec<ByteBuf>,
}

fn path(folder: &Path, kind: EvidenceKind) -> PathBuf {
    folder.join(kind.word())
}

/// What is there; nothing, if it cannot be read or is not of this form: then it is fetched anew.
pub(super) fn load(folder: &Path, kind: EvidenceKind) -> Option<Held> {
    let mut bytes = vec![];
    File::open(path(folder, kind)).ok()?.take(HELD_MAX as u64 + 1024).read_to_end(&mut bytes).ok()?;
    let content: Content = ciborium::from_reader(&bytes[..]).ok()?;
    let endorsements: Vec<_> = content.endorsements.into_iter().map(ByteBuf::into_vec).collect();
    let is_ours = content.v == 1 && content.kind == kind && endorsements.len() <= ENDORSEMENTS_MAX;
    is_ours.then_some(Held { fetched: content.fetched, endorsements })
}

/// Puts it in the place of what is there, whole or not at all, for this user's eyes alone.
pub(super) fn save(folder: &Path, kind: EvidenceKind, held: &Held) -> io::Result<()> {
    let endorsements = held.endorsements.iter().cloned().map(ByteBuf::from).collect();
    let mut bytes = vec![];
    ciborium::into_writer(&Content { v: 1, kind, fetched: held.fetched, endorsements }, &mut bytes)
        .map_err(|e| io::Error::other(e.to_string()))?;
    let (path, new) = (path(folder, kind), folder.join(format!("{kind}.new")));
    // Of a worker that was killed here.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}
