//! Checkpoints of a log (c2sp.org/tlog-checkpoint), proofs that something is in one (c2sp.org/tlog-proof), and Merkle trees as RFC 6962 has them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{Role, Verifier};
use crate::note::{NOTE_MAX, Note, NoteError};

/// Largest tree, entries: far more than anybody writes, and far from where 64 bits end.
pub(crate) const SIZE_MAX: u64 = 1 << 40;
/// Most hashes of a proof, as tlog-witness has it; a tree of [`SIZE_MAX`] entries has 40 levels.
const PATH_MAX: usize = 63;
/// Largest proof, bytes.
pub(crate) const PROOF_MAX: usize = NOTE_MAX + 8192;
/// First line of a proof.
const PROOF: &str = "c2sp.org/tlog-proof@v1";

/// A SHA-256 hash in a log's tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeHash(pub [u8; 32]);

impl TreeHash {
    /// Of an entry: SHA-256 over a zero byte and the entry (RFC 6962, section 2.1).
    pub fn of_entry(entry: &[u8]) -> Self {
        tlog_tiles::record_hash(entry).into()
    }

    fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl From<tlog_tiles::Hash> for TreeHash {
    fn from(hash: tlog_tiles::Hash) -> Self {
        Self(hash.0)
    }
}

impl From<TreeHash> for tlog_tiles::Hash {
    fn from(hash: TreeHash) -> Self {
        Self(hash.0)
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why something is no checkpoint or proof, or one that does not hold.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ProofError {
    /// The form of a checkpoint or proof.
    #[error("not a {0}: {1}")]
    Form(&'static str, String),
    /// The note that a checkpoint is.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// An unsigned checkpoint.
    #[error("the checkpoint of {origin} is not signed by {key}")]
    Unsigned {
        /// The log that it says it is of.
        origin: String,
        /// Whose signature was wanted.
        key: String,
    },
    /// A tree that does not have this entry there.
    #[error("entry {index} of {origin} is another: its proof does not lead to the signed root")]
    NotIn {
        /// The log.
        origin: String,
        /// Where it should be.
        index: u64,
    },
    /// Trees of which one is not the other's beginning.
    #[error("the log {0} was rewritten: its tree of {1} entries is not the beginning of that of {2}")]
    Inconsistent(String, u64, u64),
}

fn decimal(text: &str) -> Option<u64> {
    let is_plain = text == "0" || !text.starts_with('0');
    (is_plain && text.len() <= 13 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// What a log's tree was at a time, as a note by the log and its witnesses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    note: Note,
    origin: String,
    size: u64,
    root: TreeHash,
}

impl Checkpoint {
    /// A tree that nobody has signed yet.
    ///
    /// # Errors
    /// [`NoteError::Form`], for an origin of several lines.
    pub fn new(origin: &str, size: u64, root: TreeHash) -> Result<Self, ProofError> {
        Self::of(Note::new(format!("{origin}\n{size}\n{root}\n"))?)
    }

    /// Reads a checkpoint; who signed it is another question.
    ///
    /// # Errors
    /// [`ProofError::Form`], [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        Self::of(Note::parse(bytes)?)
    }

    fn of(note: Note) -> Result<Self, ProofError> {
        let bad = |why: &str| ProofError::Form("checkpoint", why.into());
        let mut lines = note.text().lines();
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or_else(|| bad("no origin"))?.to_string();
        let size = lines.next().and_then(decimal).filter(|n| *n <= SIZE_MAX).ok_or_else(|| bad("no size of a tree"))?;
        let root = lines.next().and_then(TreeHash::parse).ok_or_else(|| bad("no root"))?;
        if size == 0 && root != tlog_tiles::EMPTY_HASH.into() {
            return Err(bad("a tree without entries has one root, and this is another"));
        }
        if lines.any(str::is_empty) {
            return Err(bad("an empty line"));
        }
        Ok(Self { note, origin, size, root })
    }

    /// Which log.
    pub fn origin(&self) -> &str {
        &self.origin
    }
    /// Entries of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Its root.
    pub fn root(&self) -> TreeHash {
        self.root
    }
    /// The note that it is.
    pub fn note(&self) -> &Note {
        &self.note
    }
    /// The same, to be signed.
    pub fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }

    /// Checks that it is of the log that this key is of.
    ///
    /// # Errors
    /// [`ProofError::Unsigned`], [`NoteError::Role`], [`NoteError::Signature`].
    pub fn check(&self, log: &Verifier) -> Result<(), ProofError> {
        if log.role() != Role::Log {
            return Err(NoteError::Role(log.name().to_string(), log.role()).into());
        }
        if self.origin != log.name() || self.note.signed_by(log)?.is_none() {
            return Err(ProofError::Unsigned { origin: self.origin.clone(), key: log.name().to_string() });
        }
        Ok(())
    }

    /// Checks that the tree of `earlier` is the beginning of this one (RFC 6962, section 2.1.2).
    ///
    /// # Errors
    /// [`ProofError::Inconsistent`].
    pub fn extends(&self, earlier: &Checkpoint, path: &[TreeHash]) -> Result<(), ProofError> {
        let holds = match earlier.size {
            _ if self.origin != earlier.origin || path.len() > PATH_MAX || earlier.size > self.size => false,
            0 => path.is_empty() && earlier.root == tlog_tiles::EMPTY_HASH.into(),
            n if n == self.size => path.is_empty() && earlier.root == self.root,
            n => {
                let path: Vec<_> = path.iter().map(|h| (*h).into()).collect();
                tlog_tiles::check_tree(&path, self.size, self.root.into(), n, earlier.root.into()).is_ok()
            }
        };
        if holds { Ok(()) } else { Err(ProofError::Inconsistent(self.origin.clone(), earlier.size, self.size)) }
    }
}

/// That an entry stands in a log, for whoever has no connection to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Which entry, counted from 0.
    pub index: u64,
    /// Hashes from the entry's sibling to the root's child.
    pub path: Vec<TreeHash>,
    /// The tree.
    pub checkpoint: Checkpoint,
}

impl Proof {
    /// Reads a proof. An `extra` line, which nothing here has a use for, is refused.
    ///
    /// # Errors
    /// [`ProofError::Form`], [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let bad = |why: &str| ProofError::Form("proof", why.into());
        if bytes.len() > PROOF_MAX {
            return Err(bad("it is too large"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| bad("there is no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(PROOF) {
            return Err(bad("its first line is another"));
        }
        let index =
            lines.next().and_then(|line| decimal(line.strip_prefix("index ")?)).ok_or_else(|| bad("no index"))?;
        let path = lines.map(TreeHash::parse).collect::<Option<Vec<_>>>().ok_or_else(|| bad("a line is no hash"))?;
        if path.len() > PATH_MAX {
            return Err(bad("its path is longer than any tree is high"));
        }
        Ok(Self { index, path, checkpoint: Checkpoint::parse(checkpoint.as_bytes())? })
    }

    /// Checks that the tree has this entry at that place. Who signed the tree is another question.
    ///
    /// # Errors
    /// [`ProofError::NotIn`].
    pub fn check(&self, entry: &[u8]) -> Result<(), ProofError> {
        let path: Vec<_> = self.path.iter().map(|h| (*h).into()).collect();
        let (tree, entry) = (&self.checkpoint, TreeHash::of_entry(entry));
        tlog_tiles::check_record(&path, tree.size, tree.root.into(), self.index, entry.into())
            .map_err(|_| ProofError::NotIn { origin: tree.origin.clone(), index: self.index })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PROOF}\nindex {}\n", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint.note)
    }
}
