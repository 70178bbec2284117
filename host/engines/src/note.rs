//! Signed notes (c2sp.org/signed-note): a text, and below it who has signed it. Cosignatures (c2sp.org/tlog-cosignature) are
//! signatures of witnesses, with a time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eider_protocol::printable;

use crate::key::{Role, Signer, Verifier};

/// Largest note, bytes.
pub const NOTE_MAX: usize = 64 << 10;
/// Most signatures of a note; those of a log's witnesses, and of keys that are being changed.
pub const SIGNATURES_MAX: usize = 64;

/// Why bytes are no note, or one that is not signed as it must be.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum NoteError {
    /// Its form.
    #[error("not a signed note: {0}")]
    Form(String),
    /// A signature that names a key and is not its.
    #[error("a signature says that it is of {0}, and is not: the note was changed, or another signed it")]
    Signature(String),
    /// No room for one more signature.
    #[error("a note has at most {SIGNATURES_MAX} signatures and {NOTE_MAX} bytes")]
    Full,
    /// A key that does not sign such things.
    #[error("{0} is the key of a {1}, and cannot sign this")]
    Role(String, Role),
}

fn form(why: impl fmt::Display) -> NoteError {
    NoteError::Form(why.to_string())
}

/// One signature of a note, by whatever key.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl Signature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let short = || printable(line, 80);
        let (name, bytes) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| form(format!("{:?} is no signature", short())))?;
        let bytes = STANDARD.decode(bytes).map_err(|_| form(format!("{:?} is not in base64", short())))?;
        let (id, bytes) = bytes.split_first_chunk().ok_or_else(|| form("a signature is too short"))?;
        // Keys that are not known may be called what ours may not.
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') || bytes.is_empty() {
            return Err(form(format!("{:?} has no name of a key, or no signature", short())));
        }
        Ok(Self { name: name.to_string(), id: *id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\u{2014} {} {}", self.name, STANDARD.encode([&self.id[..], &self.bytes].concat()))
    }
}

/// A text with signatures. That it parses says nothing of who signed it: [`Note::signed_by`] does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// What a key's Ed25519 is over.
fn message(role: Role, text: &str, at: u64) -> Vec<u8> {
    match role {
        Role::Log => text.as_bytes().to_vec(),
        Role::Witness => format!("cosignature/v1\ntime {at}\n{text}").into_bytes(),
        Role::Publisher | Role::Rebuilder => format!("eider/{role}/1 entry\n{text}").into_bytes(),
    }
}

/// Whether every character may stand in a note.
fn is_text(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || c >= ' ')
}

impl Note {
    /// A note that nobody has signed yet. The text ends in a newline.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if !text.ends_with('\n') || !is_text(&text) || text.len() > NOTE_MAX {
            return Err(form(
                "a note's text ends in a newline, is no longer than a note, and has no control characters",
            ));
        }
        Ok(Self { text, signatures: vec![] })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_MAX {
            return Err(form(format!("{} bytes; at most {NOTE_MAX} are read", bytes.len())));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| form("not UTF-8"))?;
        if !is_text(whole) {
            return Err(form("a control character"));
        }
        let (text, below) = whole.rsplit_once("\n\n").ok_or_else(|| form("no empty line before its signatures"))?;
        let lines = below.strip_suffix('\n').ok_or_else(|| form("its last line was cut off"))?;
        let mut note = Self::new(format!("{text}\n"))?;
        for line in lines.split('\n') {
            if note.signatures.len() == SIGNATURES_MAX {
                return Err(form(format!("more than {SIGNATURES_MAX} signatures")));
            }
            note.signatures.push(Signature::parse(line)?);
        }
        Ok(note)
    }

    /// What is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a signature of this key, in the place of an earlier one; a witness's is of the time `at`, in seconds of Unix.
    ///
    /// # Errors
    /// [`NoteError::Full`].
    pub fn sign(&mut self, signer: &Signer, at: u64) -> Result<(), NoteError> {
        let key = signer.verifier();
        let signature = signer.sign(&message(key.role(), &self.text, at));
        let bytes = match key.role() {
            Role::Witness => [&at.to_be_bytes()[..], &signature].concat(),
            _ => signature.to_vec(),
        };
        self.put(Signature { name: key.name().to_string(), id: key.id(), bytes })
    }

    /// Puts a signature in the place of that of the same key, if nobody would refuse to read the note then.
    fn put(&mut self, signature: Signature) -> Result<(), NoteError> {
        let mut signatures = self.signatures.clone();
        signatures.retain(|s| s.name != signature.name || s.id != signature.id);
        signatures.push(signature);
        let note = Self { text: self.text.clone(), signatures };
        if note.signatures.len() > SIGNATURES_MAX || note.to_string().len() > NOTE_MAX {
            return Err(NoteError::Full);
        }
        *self = note;
        Ok(())
    }

    /// Takes over the signature of the same text that this key has made: the last, if there are several.
    ///
    /// # Errors
    /// [`NoteError::Signature`], [`NoteError::Full`], and nothing is taken over.
    pub fn merge(&mut self, other: &Note, key: &Verifier) -> Result<bool, NoteError> {
        if other.text != self.text || other.signed_by(key)?.is_none() {
            return Ok(false);
        }
        let found = other.signatures.iter().rfind(|s| s.name == key.name() && s.id == key.id());
        found.cloned().map_or(Ok(false), |signature| self.put(signature).map(|()| true))
    }

    /// The lines of this key's signatures, as a witness answers.
    pub fn lines_of(&self, key: &Verifier) -> String {
        let its = self.signatures.iter().filter(|s| s.name == key.name() && s.id == key.id());
        its.map(Signature::to_string).collect()
    }

    /// Whether this key has signed it, and when, if it is a witness's (else 0). Signatures of other keys are not looked at.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if one with its name and id is not its: such a note is refused, whoever else has signed it.
    pub fn signed_by(&self, key: &Verifier) -> Result<Option<u64>, NoteError> {
        let mut found = None;
        for signature in self.signatures.iter().filter(|s| s.name == key.name() && s.id == key.id()) {
            let at = verified(key, &self.text, &signature.bytes);
            found = Some(at.ok_or_else(|| NoteError::Signature(key.name().to_string()))?);
        }
        Ok(found)
    }
}

fn verified(key: &Verifier, text: &str, bytes: &[u8]) -> Option<u64> {
    let (at, signature) = match key.role() {
        Role::Witness => {
            let (at, signature) = bytes.split_first_chunk()?;
            (u64::from_be_bytes(*at), signature)
        }
        _ => (0, bytes),
    };
    let is_time = at <= i64::MAX as u64;
    (is_time && key.key().verifies(&message(key.role(), text, at), signature.try_into().ok()?)).then_some(at)
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|s| s.fmt(f))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn example() -> Verifier {
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse().unwrap()
    }

    #[test]
    fn a_note_of_the_specification_is_verified() {
        let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(note.to_string(), EXAMPLE);
        assert_eq!(note.signed_by(&example()), Ok(Some(0)));
        let other = Signer::new("example.com/foo", Role::Log, [1; 32]).unwrap();
        assert_eq!(note.signed_by(other.verifier()), Ok(None));
    }

    #[test]
    fn each_changed_byte_of_a_note_is_found() {
        for n in 0..EXAMPLE.len() {
            for bit in 0..8 {
                let mut bytes = EXAMPLE.as_bytes().to_vec();
                bytes[n] ^= 1 << bit;
                let found = Note::parse(&bytes).and_then(|note| note.signed_by(&example()));
                assert!(!matches!(found, Ok(Some(_))), "byte {n}, bit {bit}");
            }
        }
    }

    #[test]
    fn each_role_signs_for_itself_alone() {
        let roles = [Role::Log, Role::Witness, Role::Publisher];
        for role in roles {
            let signer = Signer::new("example.com", role, [9; 32]).unwrap();
            let mut note = Note::new("a\n\nb\n").unwrap();
            note.sign(&signer, 5).unwrap();
            note.sign(&signer, 6).unwrap();
            let read = Note::parse(note.to_string().as_bytes()).unwrap();
            assert_eq!(read, note);
            let at = if role == Role::Witness { 6 } else { 0 };
            assert_eq!(read.signed_by(signer.verifier()), Ok(Some(at)));
            for other in roles.into_iter().filter(|r| *r != role) {
                let other = Signer::new("example.com", other, [9; 32]).unwrap();
                assert_eq!(read.signed_by(other.verifier()), Ok(None));
                // The same bytes under the other key's id are no signature of it.
                let mut forged = read.clone();
                forged.signatures[0].id = other.verifier().id();
                assert!(forged.signed_by(other.verifier()).is_err(), "{role} as {}", other.verifier().role());
            }
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let many = format!("a\n\n{}", EXAMPLE.split("\n\n").nth(1).unwrap().repeat(SIGNATURES_MAX + 1));
        let long = format!("{}\n\n\u{2014} a AAAAAAA=\n", "a".repeat(NOTE_MAX));
        let cases = [
            "",
            "\n\n",
            "a\n",
            "a\n\n",
            "a\n\nb\n",
            "a\n\n\u{2014} a\n",
            "a\n\n\u{2014} a AAAA\n",
            "a\tb\n\n\u{2014} a AAAAAAA=\n",
            "a\n\n\u{2014} a AAAAAAA=",
            &many,
            &long,
        ];
        for case in cases {
            assert!(Note::parse(case.as_bytes()).is_err(), "{:?}", &case[..case.len().min(40)]);
        }
        assert!(Note::parse(b"a\n\n\xe2\x80\x94 a \xff\n").is_err());
    }
}
