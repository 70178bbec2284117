//! Keys with a name and one role, in the text forms of C2SP signed-note ("verifier keys") and of Go's `sumdb/note` ("signer keys").

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eider_protocol::{Identity, PublicKey, is_printable};
use sha2::{Digest, Sha256};

/// Longest name of a key, bytes.
pub(crate) const NAME_MAX: usize = 128;
/// What stands before a secret key.
const SECRET: &str = "PRIVATE+KEY+";

/// What a key is for. A key has one role: what it signs in that role is nothing in another, for key ids and signed bytes differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Signs a log's checkpoints (signed-note, signature type 0x01).
    Log,
    /// Cosigns the checkpoints of logs (tlog-cosignature, 0x04).
    Witness,
    /// Signs manifests, and its entries in a log (0xff, then a name).
    Publisher,
    /// Signs that it has built the same bytes itself (0xff, then a name).
    Rebuilder,
}

impl Role {
    const ALL: [Self; 4] = [Self::Log, Self::Witness, Self::Publisher, Self::Rebuilder];

    /// What the key's bytes begin with: signed-note's signature type, and for those that it has none for, 0xff and a name.
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Log => &[1],
            Self::Witness => &[4],
            Self::Publisher => b"\xffeider/publisher/1:",
            Self::Rebuilder => b"\xffeider/rebuilder/1:",
        }
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Witness => "witness",
            Self::Publisher => "publisher",
            Self::Rebuilder => "rebuilder",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = KeyError;

    fn from_str(word: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|role| role.word() == word).ok_or(KeyError::Role)
    }
}

/// Why a text is no key.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Its name.
    #[error(
        "{0:?} cannot name a key: up to {NAME_MAX} printable bytes without spaces and `+` can, best a domain of yours"
    )]
    Name(String),
    /// Its form.
    #[error(
        "this is no key: NAME+ID+KEY is expected, as `eider engine keygen` prints it; a public key where a public one is meant, and a key file where that is"
    )]
    Form,
    /// Its id does not follow from the rest.
    #[error("the id in the key of {0} is not that of its bytes: it was mistyped or cut off")]
    Id(String),
    /// Nothing that a key is for.
    #[error("a key is for one of: log, witness, publisher, rebuilder; this one is for none of them")]
    Role,
    /// A secret where a public key is meant.
    #[error("this is the SECRET half of a key, where the public one is meant: do not show it to anybody")]
    Secret,
}

/// Whether this can name a key, or the owner of what a key has signed.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| is_printable(c) && !c.is_whitespace() && c != '+';
    !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits)
}

fn id(name: &str, bytes: &[u8]) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(bytes).finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Name, id and bytes of a key's text.
fn parts(text: &str) -> Result<(String, [u8; 4], Vec<u8>), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    if !is_name(name) {
        return Err(KeyError::Name(eider_protocol::printable(name, NAME_MAX)));
    }
    let mut found = [0; 4];
    hex::decode_to_slice(id, &mut found).map_err(|_| KeyError::Form)?;
    if id.bytes().any(|b| b.is_ascii_uppercase()) || bytes.len() > 128 {
        return Err(KeyError::Form);
    }
    Ok((name.to_string(), found, STANDARD.decode(bytes).map_err(|_| KeyError::Form)?))
}

/// The role and the 32 bytes of a key.
fn role(bytes: &[u8]) -> Result<(Role, [u8; 32]), KeyError> {
    let of = |role: &Role| bytes.strip_prefix(role.tag()).and_then(|key| Some((*role, key.try_into().ok()?)));
    Role::ALL.iter().find_map(of).ok_or(KeyError::Role)
}

/// Who signs, in which role, by which key. Two are equal if all of it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    name: String,
    role: Role,
    key: PublicKey,
}

impl Verifier {
    /// Its name, best a domain of its owner's.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }
    /// The key.
    pub fn key(&self) -> PublicKey {
        self.key
    }
    /// First bytes of SHA-256 over name, newline, type and key: tells keys apart, and proves nothing.
    pub fn id(&self) -> [u8; 4] {
        id(&self.name, &[self.role.tag(), self.key.as_bytes()].concat())
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.role.tag(), self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(bytes))
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(SECRET) {
            return Err(KeyError::Secret);
        }
        let (name, found, bytes) = parts(text)?;
        let (role, key) = role(&bytes)?;
        if id(&name, &bytes) != found {
            return Err(KeyError::Id(name));
        }
        Ok(Self { name, role, key: PublicKey::from_bytes(key) })
    }
}

/// A secret key with its name and role.
#[derive(Clone)]
pub struct Signer {
    verifier: Verifier,
    identity: Identity,
}

impl Signer {
    /// A key of this seed.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, role: Role, seed: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name(eider_protocol::printable(name, NAME_MAX)));
        }
        let identity = Identity::from_seed(seed);
        Ok(Self { verifier: Verifier { name: name.to_string(), role, key: identity.public() }, identity })
    }

    /// Who it is.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Ed25519 over these bytes. Who calls puts the role's own domain before them.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.identity.sign(message)
    }

    /// For a key file.
    pub fn secret(&self) -> String {
        let bytes = [self.verifier.role.tag(), &self.identity.seed()].concat();
        format!("{SECRET}{}+{}+{}", self.verifier.name, hex::encode(self.verifier.id()), STANDARD.encode(bytes))
    }

    /// What stands in a key file.
    ///
    /// # Errors
    /// [`KeyError`]; none shows anything of the secret.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, found, bytes) = parts(text.strip_prefix(SECRET).ok_or(KeyError::Form)?)?;
        let (role, seed) = role(&bytes)?;
        let signer = Self::new(&name, role, seed)?;
        if signer.verifier.id() == found { Ok(signer) } else { Err(KeyError::Id(name)) }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written_and_have_one_role() {
        for role in Role::ALL {
            let signer = Signer::new("example.com/a", role, [7; 32]).unwrap();
            let text = signer.verifier().to_string();
            assert_eq!(text.parse::<Verifier>().unwrap(), *signer.verifier());
            assert_eq!(Signer::parse(&signer.secret()).unwrap().verifier(), signer.verifier());
            assert_eq!(signer.secret().parse::<Verifier>(), Err(KeyError::Secret));
            assert!(!format!("{signer:?}").contains(&STANDARD.encode([7; 32])[..8]));
            for other in Role::ALL.into_iter().filter(|r| *r != role) {
                let other = Signer::new("example.com/a", other, [7; 32]).unwrap();
                assert_ne!(other.verifier().id(), signer.verifier().id());
            }
            for cut in 0..text.len() {
                assert!(text[..cut].parse::<Verifier>().is_err(), "{cut}");
            }
        }
    }

    /// The example of signed-note's text.
    #[test]
    fn a_key_of_the_specification_is_read() {
        let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let key: Verifier = text.parse().unwrap();
        assert_eq!((key.name(), key.role(), key.id()), ("example.com/foo", Role::Log, [0x53, 0x0d, 0x90, 0x3a]));
        assert_eq!(key.to_string(), text);
        assert_eq!(text.replace("530d", "530e").parse::<Verifier>(), Err(KeyError::Id("example.com/foo".into())));
    }

    #[test]
    fn what_cannot_name_a_key_does_not() {
        for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "\u{202e}a", &"a".repeat(NAME_MAX + 1)] {
            assert!(matches!(Signer::new(name, Role::Log, [1; 32]), Err(KeyError::Name(_))), "{name:?}");
        }
    }
}
