//! What an engine build is, as its publisher says it: an in-toto statement in a DSSE envelope. Name and version, digests of the component,
//! what it imports and wants, what it was built from (in SLSA's form), and the licences of what is linked in.

use std::fmt;
use std::str::FromStr;

use eider_protocol::{Hash, is_printable, printable};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::dsse::Envelope;
use crate::key::{Role, Signer, Verifier};

/// Largest manifest, bytes; nearly all of one are its licences.
pub const MANIFEST_MAX: usize = 4 << 20;
/// Type of an envelope with a statement.
const PAYLOAD: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "eider:engine-manifest/v1";
/// Most entries of each list.
const LIST_MAX: usize = 4096;
/// Longest version, bytes.
const VERSION_MAX: usize = 64;
/// Longest line, bytes.
const LINE_MAX: usize = 4096;

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// Its form.
    #[error("not an engine's manifest: {0}")]
    Form(String),
    /// Not its owner's.
    #[error("{0} is not {1}'s, or its manifest is not signed by {1}")]
    Unsigned(EngineName, String),
    /// Other bytes.
    #[error("the manifest names other bytes: {0}")]
    Bytes(String),
    /// What they do.
    #[error("the manifest says otherwise than the bytes: {0}")]
    Touches(String),
}

fn form(why: impl fmt::Display) -> ManifestError {
    ManifestError::Form(printable(&why.to_string(), 300))
}

/// Name of an engine: `OWNER/NAME`, where the owner is whose key signs it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineName(String);

impl EngineName {
    /// Whose it is: the name of the key that signs it.
    pub fn owner(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(owner, _)| owner)
    }
}

impl FromStr for EngineName {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let fits = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b))
        };
        let bad =
            || form(format!("{text:?} is no name of an engine: OWNER/NAME of a-z, 0-9, -, . and _, up to 128 bytes"));
        if text.len() > 128 || text.split('/').count() < 2 || !text.split('/').all(fits) {
            return Err(bad());
        }
        Ok(Self(text.to_string()))
    }
}

impl TryFrom<String> for EngineName {
    type Error = ManifestError;

    fn try_from(text: String) -> Result<Self, ManifestError> {
        text.parse()
    }
}

impl From<EngineName> for String {
    fn from(name: EngineName) -> Self {
        name.0
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version as this project takes them: semver's, without build metadata, by which nobody could tell two builds apart.
///
/// # Errors
/// [`ManifestError::Form`].
pub fn version(text: &str) -> Result<Version, ManifestError> {
    let bad = || form(format!("{text:?} is no version: 1.2.0 or 1.2.0-rc.1, of up to {VERSION_MAX} bytes"));
    let version: Version = text.parse().map_err(|_| bad())?;
    if text.len() > VERSION_MAX || !version.build.is_empty() { Err(bad()) } else { Ok(version) }
}

/// What a component asks for and offers, as it is found in its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touches {
    /// All that it may ever touch.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
    /// Pages (64 KiB) of its linear memories: initial, maximum.
    pub memories: Vec<(u64, Option<u64>)>,
    /// Entries of its tables: initial, maximum.
    pub tables: Vec<(u64, Option<u64>)>,
    /// Core modules inside.
    pub modules: usize,
    /// Components and modules inside each other.
    pub nesting: usize,
}

/// A component's bytes, by two hashes of all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digests {
    /// What Offers name it by.
    pub blake3: Hash,
    /// What registries and others name it by.
    pub sha256: [u8; 32],
    /// Bytes.
    pub size: u64,
}

impl Digests {
    /// Of a component.
    pub fn of(component: &[u8]) -> Self {
        Self {
            blake3: blake3::hash(component).into(),
            sha256: Sha256::digest(component).into(),
            size: component.len() as u64,
        }
    }

    /// Checks that these are of the same bytes as others: in all three.
    ///
    /// # Errors
    /// [`ManifestError::Bytes`], with what differs.
    pub fn same(&self, found: &Digests) -> Result<(), ManifestError> {
        let hex = |hash: &[u8; 32]| hex::encode(hash);
        let differs = match self {
            _ if self.size != found.size => format!("{} bytes, there are {}", self.size, found.size),
            _ if self.blake3 != found.blake3 => format!("BLAKE3 {}, it is {}", self.blake3, found.blake3),
            _ if self.sha256 != found.sha256 => format!("SHA-256 {}, it is {}", hex(&self.sha256), hex(&found.sha256)),
            _ => return Ok(()),
        };
        Err(ManifestError::Bytes(differs))
    }
}

/// What a publisher says of a build.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    /// Its name.
    pub name: EngineName,
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub digests: Digests,
    /// The rest.
    pub build: Build,
}

/// What a build is beside its name, version and bytes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// What it asks for and offers.
    pub touches: Touches,
    /// What it was built from and how: SLSA v1's provenance (slsa.dev/spec/v1.0/provenance), an object, if its publisher says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Map<String, Value>>,
    /// Licence texts of all that is linked in.
    pub licenses: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: String,
    blake3: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    name: EngineName,
    version: Version,
    size: u64,
    build: Build,
}

fn digest(text: &str) -> Result<[u8; 32], ManifestError> {
    let mut bytes = [0; 32];
    let is_lower = text.bytes().all(|b| !b.is_ascii_uppercase());
    hex::decode_to_slice(text, &mut bytes)
        .ok()
        .filter(|()| is_lower)
        .ok_or_else(|| form("a digest is not 64 hexadecimal digits"))?;
    Ok(bytes)
}

impl Manifest {
    /// The manifest, signed by its owner.
    ///
    /// # Errors
    /// [`ManifestError::Form`] for one that would not be read; [`ManifestError::Unsigned`] if its name is not of this key's.
    pub fn sign(&self, signer: &Signer) -> Result<Envelope, ManifestError> {
        let statement = Statement {
            kind: STATEMENT.into(),
            subject: vec![Subject {
                name: format!("{}@{}", self.name, self.version),
                digest: SubjectDigest {
                    sha256: hex::encode(self.digests.sha256),
                    blake3: hex::encode(self.digests.blake3.as_bytes()),
                },
            }],
            predicate_type: PREDICATE.into(),
            predicate: Predicate {
                name: self.name.clone(),
                version: self.version.clone(),
                size: self.digests.size,
                build: self.build.clone(),
            },
        };
        let envelope = Envelope::sign(PAYLOAD, serde_json::to_vec(&statement).map_err(form)?, signer);
        // What nobody would read is not signed.
        Self::open(&envelope, signer.verifier())?;
        Ok(envelope)
    }

    /// Reads a manifest; who signed it is another question.
    ///
    /// # Errors
    /// [`ManifestError::Form`].
    pub fn read(envelope: &Envelope) -> Result<Self, ManifestError> {
        if envelope.kind() != PAYLOAD || envelope.payload().len() > MANIFEST_MAX {
            return Err(form(format!("of type {:?}, with {} bytes", envelope.kind(), envelope.payload().len())));
        }
        let statement: Statement = serde_json::from_slice(envelope.payload()).map_err(form)?;
        let [subject] = &statement.subject[..] else {
            return Err(form(format!("{} subjects, where one build is", statement.subject.len())));
        };
        let Predicate { name, version, size, build } = statement.predicate;
        if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
            return Err(form(format!("a statement of type {:?}", statement.predicate_type)));
        }
        self::version(&version.to_string())?;
        if subject.name != format!("{name}@{version}") {
            return Err(form(format!("its subject is {:?}, and not {name}@{version}", subject.name)));
        }
        build.check()?;
        let (sha256, blake3) = (digest(&subject.digest.sha256)?, Hash::from_bytes(digest(&subject.digest.blake3)?));
        Ok(Self { name, version, digests: Digests { blake3, sha256, size }, build })
    }

    /// Reads a manifest that this publisher has signed, whose name the engine's begins with.
    ///
    /// # Errors
    /// [`ManifestError::Form`], [`ManifestError::Unsigned`].
    pub fn open(envelope: &Envelope, publisher: &Verifier) -> Result<Self, ManifestError> {
        let manifest = Self::read(envelope)?;
        let is_owner = publisher.role() == Role::Publisher && manifest.name.owner() == publisher.name();
        if !is_owner || !envelope.signed_by(publisher) {
            return Err(ManifestError::Unsigned(manifest.name, publisher.name().to_string()));
        }
        Ok(manifest)
    }

    /// Checks bytes, and what was found in them, against what is said of them.
    ///
    /// # Errors
    /// [`ManifestError::Bytes`], [`ManifestError::Touches`].
    pub fn check(&self, found: &Digests, touches: &Touches) -> Result<(), ManifestError> {
        self.digests.same(found)?;
        let said = &self.build.touches;
        let differs = match said {
            _ if said.imports != touches.imports => "other imports",
            _ if said.exports != touches.exports => "other exports",
            _ if said.memories != touches.memories => "other memories",
            _ if said.tables != touches.tables => "other tables",
            _ if said != touches => "other modules inside",
            _ => return Ok(()),
        };
        Err(ManifestError::Touches(differs.into()))
    }
}

impl Build {
    /// Bounds of what people read.
    fn check(&self) -> Result<(), ManifestError> {
        let t = &self.touches;
        let lists = [t.imports.len(), t.exports.len(), t.memories.len(), t.tables.len()];
        if lists.into_iter().any(|n| n > LIST_MAX) {
            return Err(form(format!("a list of more than {LIST_MAX}")));
        }
        let lines = t.imports.iter().chain(&t.exports);
        if lines.clone().any(|line| line.len() > LINE_MAX || !line.chars().all(is_printable)) {
            return Err(form(format!("a line of over {LINE_MAX} bytes, or one that cannot be printed")));
        }
        if let Some(provenance) = &self.provenance {
            let is_text =
                |v: Option<&Value>| v.and_then(Value::as_str).is_some_and(|t| !t.is_empty() && t.len() <= LINE_MAX);
            let method = provenance.get("buildDefinition").and_then(|v| v.get("buildType"));
            let builder = provenance.get("runDetails").and_then(|v| v.pointer("/builder/id"));
            if !is_text(method) || !is_text(builder) {
                return Err(form("its provenance has no buildDefinition.buildType or no runDetails.builder.id"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn publisher(owner: &str) -> Signer {
        Signer::new(owner, Role::Publisher, [3; 32]).unwrap()
    }

    pub(crate) fn example() -> Manifest {
        let touches = Touches {
            imports: vec!["eider:engine/inputs@1.0.0".into()],
            exports: vec!["run".into()],
            memories: vec![(2, None)],
            tables: vec![(5, Some(5))],
            modules: 1,
            nesting: 2,
        };
        Manifest {
            name: "someone/duckdb-fts".parse().unwrap(),
            version: Version::new(1, 2, 0),
            digests: Digests::of(b"component"),
            build: Build { touches, licenses: "MIT".into(), ..Build::default() },
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_signed_and_by_its_owner_alone() {
        let (manifest, signer) = (example(), publisher("someone"));
        let envelope = manifest.sign(&signer).unwrap();
        assert_eq!(Manifest::open(&envelope, signer.verifier()).unwrap(), manifest);
        let unsigned =
            |key: &Signer| matches!(Manifest::open(&envelope, key.verifier()), Err(ManifestError::Unsigned(..)));
        assert!(unsigned(&publisher("someone.else")));
        assert!(unsigned(&Signer::new("someone", Role::Publisher, [4; 32]).unwrap()));
        assert!(unsigned(&Signer::new("someone", Role::Log, [3; 32]).unwrap()));
        assert!(matches!(manifest.sign(&publisher("else")), Err(ManifestError::Unsigned(..))));
    }

    #[test]
    fn bytes_must_be_those_of_both_digests_and_do_what_is_said() {
        let manifest = example();
        let (found, touches) = (Digests::of(b"component"), manifest.build.touches.clone());
        assert_eq!(manifest.check(&found, &touches), Ok(()));
        for other in [
            Digests { sha256: [0; 32], ..found.clone() },
            Digests { blake3: Hash::from_bytes([0; 32]), ..found.clone() },
            Digests { size: 8, ..found.clone() },
        ] {
            assert!(matches!(manifest.check(&other, &touches), Err(ManifestError::Bytes(_))), "{other:?}");
        }
        let more = Touches { imports: vec!["wasi:filesystem".into()], ..touches.clone() };
        assert!(matches!(manifest.check(&found, &more), Err(ManifestError::Touches(_))));
        assert!(matches!(manifest.check(&found, &Touches { nesting: 3, ..touches }), Err(ManifestError::Touches(_))));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let signer = publisher("someone");
        let genuine: Value = serde_json::from_slice(example().sign(&signer).unwrap().payload()).unwrap();
        let changed = |at: &str, to: Value| {
            let mut other = genuine.clone();
            *other.pointer_mut(at).unwrap() = to;
            let envelope = Envelope::sign(PAYLOAD, serde_json::to_vec(&other).unwrap(), &signer);
            Manifest::open(&envelope, signer.verifier()).unwrap_err()
        };
        let subject = genuine["subject"][0].clone();
        let mut more = genuine["predicate"].clone();
        more["more"] = Value::from(1);
        for (at, to) in [
            ("/_type", "other".into()),
            ("/predicateType", "https://slsa.dev/provenance/v1".into()),
            ("/subject", Value::Array(vec![])),
            ("/subject", Value::Array(vec![subject.clone(), subject])),
            ("/subject/0/name", "someone/duckdb-fts@1.2.1".into()),
            ("/subject/0/digest/sha256", "00".into()),
            ("/subject/0/digest/blake3", "A".repeat(64).into()),
            ("/predicate/name", "Someone/x".into()),
            ("/predicate/version", "1".into()),
            ("/predicate/build/touches/exports", Value::from(vec!["\u{1b}[2J"])),
            ("/predicate/build/touches/exports", Value::from(vec!["p"; LIST_MAX + 1])),
            ("/predicate", more),
        ] {
            assert!(matches!(changed(at, to.clone()), ManifestError::Form(_)), "{at} {to}");
        }
        let mut provenance = example();
        let slsa = serde_json::json!({
            "buildDefinition": {"buildType": "https://example.com/make", "externalParameters": {"with": ["fts"]}},
            "runDetails": {"builder": {"id": "https://example.com/me", "version": {"os": "12"}}, "metadata": {"invocationId": "7"}},
        });
        provenance.build.provenance = slsa.as_object().cloned();
        let envelope = provenance.sign(&signer).unwrap();
        assert_eq!(Manifest::open(&envelope, signer.verifier()).unwrap(), provenance);
        provenance.build.provenance = serde_json::json!({"buildDefinition": {}}).as_object().cloned();
        assert!(matches!(provenance.sign(&signer), Err(ManifestError::Form(_))));
        for bad in ["1.2", "1.2.0+a", "01.2.0", &format!("1.2.0-{}", "a".repeat(VERSION_MAX))] {
            assert!(version(bad).is_err(), "{bad}");
        }
        let other = Envelope::sign("text/plain", serde_json::to_vec(&genuine).unwrap(), &signer);
        assert!(Manifest::open(&other, signer.verifier()).is_err());
    }

    #[test]
    fn names_have_an_owner() {
        for bad in ["duckdb", "/x", "a/", "a//b", "A/b", "a/b c", "a/../b", ".a/b", &format!("a/{}", "b".repeat(127))] {
            assert!(bad.parse::<EngineName>().is_err(), "{bad}");
        }
        assert_eq!("example.com/team/duckdb".parse::<EngineName>().unwrap().owner(), "example.com/team");
    }
}
