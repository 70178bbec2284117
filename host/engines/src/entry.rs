//! What stands in a log of engines: short signed notes that name a build by its digests. Whoever reads a log learns who published, and
//! took back, which bytes under which name; nothing else is in it.
//!
//! ```text
//! eider engine log entry v1        eider engine log entry v1
//! publish                          yank
//! someone/duckdb-fts               someone/duckdb-fts
//! 1.2.0                            1.2.0
//! sha256 <hex>                     blake3 <hex>
//! blake3 <hex>                     reason <one line>
//! manifest <hex>
//!
//! eider engine log entry v1
//! rebuild
//! someone/duckdb-fts
//! 1.2.0
//! sha256 <hex>
//! blake3 <hex>
//! ```

use std::fmt;

use eider_protocol::{Hash, is_printable, printable};
use semver::Version;
use sha2::{Digest, Sha256};

use crate::dsse::Envelope;
use crate::key::{Role, Signer, Verifier};
use crate::manifest::{self, EngineName, Manifest};
use crate::note::{Note, NoteError};

/// Largest entry, bytes.
const ENTRY_MAX: usize = 8 << 10;
/// Longest reason, bytes.
pub(crate) const REASON_MAX: usize = 500;
const FIRST: &str = "eider engine log entry v1";

/// Why something is no entry, or one that its signer could not make.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum EntryError {
    /// Its form.
    #[error("not an entry of a log of engines: {0}")]
    Form(String),
    /// The note that it is.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// By another.
    #[error("{0} is not {1}'s to say that of, or the entry is not signed by {1}")]
    Unsigned(EngineName, String),
}

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// These bytes have this name and version, for ever.
    Publish {
        /// The name.
        name: EngineName,
        /// The version.
        version: Version,
        /// SHA-256 of the component.
        sha256: [u8; 32],
        /// BLAKE3 of the component.
        blake3: Hash,
        /// SHA-256 of the manifest: the payload of its envelope.
        manifest: [u8; 32],
    },
    /// Whoever signs this has built the same bytes from what the manifest says that they were built from.
    Rebuild {
        /// The name.
        name: EngineName,
        /// The version.
        version: Version,
        /// SHA-256 of what was built.
        sha256: [u8; 32],
        /// BLAKE3 of what was built.
        blake3: Hash,
    },
    /// Nobody should run them any more.
    Yank {
        /// The name.
        name: EngineName,
        /// The version.
        version: Version,
        /// BLAKE3 of the component.
        blake3: Hash,
        /// Why, in a line.
        reason: String,
    },
}

fn form(why: impl fmt::Display) -> EntryError {
    EntryError::Form(printable(&why.to_string(), 300))
}

/// What an entry calls a manifest.
fn digest_of(envelope: &Envelope) -> [u8; 32] {
    Sha256::digest(envelope.payload()).into()
}

impl Entry {
    /// That a build is published, for its manifest.
    pub fn publish(manifest: &Manifest, envelope: &Envelope) -> Self {
        Self::Publish {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: manifest.digests.sha256,
            blake3: manifest.digests.blake3,
            manifest: digest_of(envelope),
        }
    }

    /// What it is about.
    pub fn about(&self) -> (&EngineName, &Version) {
        match self {
            Self::Publish { name, version, .. }
            | Self::Rebuild { name, version, .. }
            | Self::Yank { name, version, .. } => (name, version),
        }
    }

    /// That somebody has built what a manifest names.
    pub fn rebuild(manifest: &Manifest) -> Self {
        Self::Rebuild {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: manifest.digests.sha256,
            blake3: manifest.digests.blake3,
        }
    }

    /// The entry, signed by its engine's owner, or a rebuild by a rebuilder.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn sign(&self, signer: &Signer) -> Result<Note, EntryError> {
        let mut note = Note::new(self.to_string())?;
        note.sign(signer, 0)?;
        // What nobody would read is not signed.
        Self::open(note.to_string().as_bytes(), signer.verifier())?;
        Ok(note)
    }

    /// Reads an entry; who signed it is another question.
    ///
    /// # Errors
    /// [`EntryError::Form`].
    pub fn read(bytes: &[u8]) -> Result<(Self, Note), EntryError> {
        if bytes.len() > ENTRY_MAX {
            return Err(form(format!("{} bytes; at most {ENTRY_MAX} are read", bytes.len())));
        }
        let note = Note::parse(bytes)?;
        let lines: Vec<&str> = note.text().trim_end_matches('\n').split('\n').collect();
        let hex = |line: &str, word: &str| {
            let mut bytes = [0; 32];
            let text = line.strip_prefix(word).ok_or_else(|| form(format!("{word:?} is missing")))?;
            hex::decode_to_slice(text, &mut bytes).map_err(|_| form("a digest is not 64 hexadecimal digits"))?;
            Ok::<_, EntryError>(bytes)
        };
        let name = |text: &str| text.parse::<EngineName>().map_err(form);
        let version = |text: &str| manifest::version(text).map_err(form);
        let entry = match &lines[..] {
            [FIRST, "publish", of, at, sha256, blake3, manifest] => Self::Publish {
                name: name(of)?,
                version: version(at)?,
                sha256: hex(sha256, "sha256 ")?,
                blake3: Hash::from_bytes(hex(blake3, "blake3 ")?),
                manifest: hex(manifest, "manifest ")?,
            },
            [FIRST, "rebuild", of, at, sha256, blake3] => Self::Rebuild {
                name: name(of)?,
                version: version(at)?,
                sha256: hex(sha256, "sha256 ")?,
                blake3: Hash::from_bytes(hex(blake3, "blake3 ")?),
            },
            [FIRST, "yank", of, at, blake3, reason] => Self::Yank {
                name: name(of)?,
                version: version(at)?,
                blake3: Hash::from_bytes(hex(blake3, "blake3 ")?),
                reason: reason.strip_prefix("reason ").ok_or_else(|| form("no reason"))?.to_string(),
            },
            [first, ..] if *first != FIRST => return Err(form(format!("its first line is not {FIRST:?}"))),
            _ => return Err(form("of a kind or with lines that this version does not know")),
        };
        if let Self::Yank { reason, .. } = &entry
            && (reason.len() > REASON_MAX || reason.is_empty() || !reason.chars().all(is_printable))
        {
            return Err(form(format!("a reason is a line of up to {REASON_MAX} bytes")));
        }
        // Each entry has one form.
        if entry.to_string() != note.text() {
            return Err(form("written otherwise than such entries are"));
        }
        Ok((entry, note))
    }

    /// Reads an entry that the owner of its engine has signed, or of a rebuild, that this rebuilder has.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn open(bytes: &[u8], key: &Verifier) -> Result<Self, EntryError> {
        let (entry, note) = Self::read(bytes)?;
        let (name, _) = entry.about();
        let may = match entry {
            Self::Rebuild { .. } => key.role() == Role::Rebuilder,
            Self::Publish { .. } | Self::Yank { .. } => key.role() == Role::Publisher && name.owner() == key.name(),
        };
        if !may || note.signed_by(key)?.is_none() {
            return Err(EntryError::Unsigned(name.clone(), key.name().to_string()));
        }
        Ok(entry)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}")?;
        match self {
            Self::Publish { name, version, sha256, blake3, manifest } => {
                writeln!(f, "publish\n{name}\n{version}\nsha256 {}", hex::encode(sha256))?;
                writeln!(f, "blake3 {}\nmanifest {}", hex::encode(blake3.as_bytes()), hex::encode(manifest))
            }
            Self::Rebuild { name, version, sha256, blake3 } => {
                writeln!(f, "rebuild\n{name}\n{version}\nsha256 {}", hex::encode(sha256))?;
                writeln!(f, "blake3 {}", hex::encode(blake3.as_bytes()))
            }
            Self::Yank { name, version, blake3, reason } => {
                writeln!(f, "yank\n{name}\n{version}\nblake3 {}\nreason {reason}", hex::encode(blake3.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::manifest::tests::{example, publisher};

    #[test]
    fn entries_are_read_as_they_were_signed_and_by_their_owner_alone() {
        let (manifest, signer) = (example(), publisher("someone"));
        let envelope = manifest.sign(&signer).unwrap();
        let publish = Entry::publish(&manifest, &envelope);
        let reason = "wrong sums: 1+1=3 (see issue 7)".to_string();
        let yank =
            Entry::Yank { name: manifest.name, version: manifest.version, blake3: manifest.digests.blake3, reason };
        for entry in [publish, yank.clone()] {
            let bytes = entry.sign(&signer).unwrap().to_string().into_bytes();
            assert_eq!(Entry::open(&bytes, signer.verifier()), Ok(entry.clone()));
            for n in 0..bytes.len() {
                let mut other = bytes.clone();
                other[n] ^= 1;
                assert!(Entry::open(&other, signer.verifier()).is_err(), "byte {n}");
            }
            assert!(matches!(entry.sign(&publisher("else")), Err(EntryError::Unsigned(..))));
        }
        // A rebuild is a rebuilder's word, whatever its name, and of nobody else's key.
        let rebuilder = Signer::new("b.example", Role::Rebuilder, [9; 32]).unwrap();
        let rebuild = Entry::rebuild(&example());
        let bytes = rebuild.sign(&rebuilder).unwrap().to_string().into_bytes();
        assert_eq!(Entry::open(&bytes, rebuilder.verifier()), Ok(rebuild.clone()));
        assert!(matches!(rebuild.sign(&signer), Err(EntryError::Unsigned(..))));
        assert!(matches!(yank.sign(&rebuilder), Err(EntryError::Unsigned(..))));
        for reason in ["", "a\nb", "\u{1b}[2J", &"a".repeat(REASON_MAX + 1)] {
            let Entry::Yank { name, version, blake3, .. } = yank.clone() else { unreachable!() };
            assert!(Entry::Yank { name, version, blake3, reason: reason.into() }.sign(&signer).is_err(), "{reason:?}");
        }
        let mut upper = Note::new(yank.to_string().replace("blake3 ", "blake3 A").replacen("A0", "A", 1)).unwrap();
        upper.sign(&signer, 0).unwrap();
        assert!(Entry::open(upper.to_string().as_bytes(), signer.verifier()).is_err());
    }
}
