//! One file with all that is to be known of a build but its bytes: manifest, its entry in a log with the proof of that, and yanks. Whoever has it
//! needs no network and no store to check it.

use std::collections::BTreeSet;
use std::fmt;

use eider_protocol::printable;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Proof;
use crate::dsse::Envelope;
use crate::entry::Entry;
use crate::key::{Role, Verifier};
use crate::manifest::{Digests, MANIFEST_MAX, Manifest, Touches};
use crate::witnessed::LogPolicy;

/// Largest bundle, bytes: a manifest in base64, and proofs.
pub const BUNDLE_MAX: usize = 2 * MANIFEST_MAX;
/// Most yanks.
const YANKS_MAX: usize = 64;
/// Most rebuilds.
const REBUILDS_MAX: usize = 64;
/// What it says that it is.
const MEDIA_TYPE: &str = "application/vnd.eider.engine-bundle.v1+json";

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("not a bundle of an engine: {0}")]
pub struct BundleError(String);

/// An entry of a log, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// The entry, a signed note.
    pub entry: String,
    /// A tlog-proof; nothing as long as it is in no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// A bundle, as it was read: nothing of it was checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    /// The manifest.
    pub manifest: Envelope,
    /// That it was published.
    pub published: Logged,
    /// That others have built the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebuilds: Vec<Logged>,
    /// That it was taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub yanks: Vec<Logged>,
}

/// Finds out what a component asks for, once its digests are right.
pub type Look<'a> = dyn Fn() -> Result<Touches, String> + Sync + 'a;

/// Whom somebody believes.
#[derive(Clone, PartialEq, Debug)]
pub struct Trust {
    /// Publishers.
    pub publishers: Vec<Verifier>,
    /// Logs and witnesses; without, no log is asked for.
    pub log: Option<LogPolicy>,
}

/// One thing that was looked at, and whether it holds: with what was found, or what is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What was looked at.
    pub what: &'static str,
    /// What was found.
    pub found: Result<String, String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, found) = match &self.found {
            Ok(found) => ("ok", found),
            Err(why) => ("REFUSED", why),
        };
        write!(f, "{:<10} {word:<8} {}", self.what, printable(found, 400))
    }
}

impl Bundle {
    /// A bundle of what was just signed, which is in no log yet.
    pub fn new(manifest: Envelope, entry: String) -> Self {
        let published = Logged { entry, proof: None };
        Self { media_type: MEDIA_TYPE.into(), manifest, published, rebuilds: vec![], yanks: vec![] }
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let bad = |why: String| BundleError(printable(&why, 300));
        if bytes.len() > BUNDLE_MAX {
            return Err(bad(format!("{} bytes; at most {BUNDLE_MAX} are read", bytes.len())));
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if bundle.media_type != MEDIA_TYPE {
            return Err(bad(format!("it says that it is {:?}", bundle.media_type)));
        }
        if bundle.yanks.len() > YANKS_MAX {
            return Err(bad(format!("more than {YANKS_MAX} yanks")));
        }
        if bundle.rebuilds.len() > REBUILDS_MAX {
            return Err(bad(format!("more than {REBUILDS_MAX} rebuilds")));
        }
        // One form, so that no byte of it can be changed unseen.
        if bundle.to_bytes() != bytes {
            return Err(bad("written otherwise than bundles are".into()));
        }
        Ok(bundle)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("text and numbers have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// The file, which is one that [`Self::parse`] reads.
    ///
    /// # Errors
    /// [`BundleError`], if it has become too large.
    pub fn checked_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let bytes = self.to_bytes();
        Self::parse(&bytes).map(|_| bytes)
    }

    /// With the rebuilds that an earlier bundle of the same manifest has beside its own, and the proof of the longer log for each.
    #[must_use]
    pub fn with_what_is_known(mut self, earlier: Option<Bundle>) -> Self {
        let same = |earlier: &Bundle| earlier.manifest.payload() == self.manifest.payload();
        let Some(earlier) = earlier.filter(same) else { return self };
        let size = |logged: &Logged| Some(Proof::parse(logged.proof.as_ref()?.as_bytes()).ok()?.checkpoint.size());
        for one in earlier.rebuilds {
            match self.rebuilds.iter().position(|own| own.entry == one.entry) {
                Some(n) if size(&one) > size(&self.rebuilds[n]) => self.rebuilds[n] = one,
                None if self.rebuilds.len() < REBUILDS_MAX => self.rebuilds.push(one),
                _ => {}
            }
        }
        if earlier.published.entry == self.published.entry && size(&earlier.published) > size(&self.published) {
            self.published = earlier.published;
        }
        self
    }

    /// All its entries, that of its publication first.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut Logged> {
        std::iter::once(&mut self.published).chain(&mut self.rebuilds).chain(&mut self.yanks)
    }

    /// Which of these have signed that they have built it themselves, by the name of their key: an operator has one name, and any
    /// number of keys. Where a log is asked for, their words must be in it.
    pub fn rebuilt_by<'k>(&self, keys: &'k [Verifier], log: Option<&LogPolicy>) -> BTreeSet<&'k str> {
        let Ok(manifest) = Manifest::read(&self.manifest) else { return BTreeSet::new() };
        let wanted = Entry::rebuild(&manifest);
        let logged = self.rebuilds.iter().filter(|one| log.is_none_or(|log| in_log(log, one).is_ok()));
        let signed = |one: &'_ Logged| {
            keys.iter()
                .filter(|key| Entry::open(one.entry.as_bytes(), key).as_ref() == Ok(&wanted))
                .map(Verifier::name)
                .collect::<Vec<_>>()
        };
        logged.flat_map(signed).collect()
    }

    /// Looks at all of it, and at the component if it is there: its digests, and then what is found in it. It is as it says if each step
    /// holds; behind one that does not nothing is looked at.
    pub fn verify(&self, trust: &Trust, component: Option<(&Digests, &Look<'_>)>) -> Vec<Step> {
        let mut steps = vec![];
        if let Err(step) = self.walk(trust, component, &mut steps) {
            steps.push(step);
        }
        steps
    }

    fn walk(&self, trust: &Trust, component: Option<(&Digests, &Look<'_>)>, steps: &mut Vec<Step>) -> Result<(), Step> {
        let no = |what, why: String| Step { what, found: Err(why) };
        let mut yes = |what, found: String| steps.push(Step { what, found: Ok(found) });

        // Before anything in it is read.
        let publishers = || trust.publishers.iter().filter(|key| key.role() == Role::Publisher);
        let publisher = publishers().find(|key| self.manifest.signed_by(key)).ok_or_else(|| {
            no(
                "publisher",
                format!("its manifest is signed by none of the {} publishers that are trusted", publishers().count()),
            )
        })?;
        yes("publisher", format!("signed by {publisher}"));

        let manifest = Manifest::open(&self.manifest, publisher).map_err(|e| no("manifest", e.to_string()))?;
        let (name, version, digests) = (&manifest.name, &manifest.version, &manifest.digests);
        yes("manifest", format!("blake3 {}, {} bytes, {name} {version}", digests.blake3, digests.size));

        if let Some((found, look)) = component {
            let refused = |e: String| no("component", e);
            digests.same(found).map_err(|e| refused(e.to_string()))?;
            manifest.check(found, &look().map_err(refused)?).map_err(|e| refused(e.to_string()))?;
            yes("component", "these bytes, by SHA-256 and BLAKE3, and they ask for what is said".into());
        }

        let entry = Entry::open(self.published.entry.as_bytes(), publisher).map_err(|e| no("entry", e.to_string()))?;
        if entry != Entry::publish(&manifest, &self.manifest) {
            return Err(no("entry", "it publishes another manifest, or other bytes".into()));
        }
        yes("entry", format!("{name} {version} is these bytes and this manifest"));

        if let Some(policy) = &trust.log {
            let found = in_log(policy, &self.published).map_err(|why| no("log", why))?;
            yes("log", found);
        }
        let Some(yank) = self.yanks.first() else { return Ok(()) };
        let entry = Entry::open(yank.entry.as_bytes(), publisher).map_err(|e| no("yank", e.to_string()))?;
        match &entry {
            Entry::Yank { blake3, reason, .. } if entry.about() == (name, version) && *blake3 == digests.blake3 => {
                Err(no("yank", format!("its publisher took it back: {reason}")))
            }
            _ => Err(no("yank", "an entry among the yanks is of another build, or is none".into())),
        }
    }
}

/// Where an entry stands in a log that a policy believes.
fn in_log(policy: &LogPolicy, logged: &Logged) -> Result<String, String> {
    let proof = logged.proof.as_ref().ok_or("it is in no log; a log's keeper adds the proof (`eider log append`)")?;
    let proof = Proof::parse(proof.as_bytes()).map_err(|e| e.to_string())?;
    let witnessed = policy.check(&proof.checkpoint).map_err(|e| e.to_string())?;
    proof.check(logged.entry.as_bytes()).map_err(|e| e.to_string())?;
    Ok(format!("entry {} of {}, {witnessed}", proof.index, proof.checkpoint.size()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;
    use eider_protocol::Hash;

    use super::*;
    use crate::Log;
    use crate::key::Signer;
    use crate::manifest::tests::{example, publisher};

    fn witness(name: &str) -> Signer {
        Signer::new(name, Role::Witness, [name.as_bytes()[0]; 32]).unwrap()
    }

    /// When witnesses have cosigned, in seconds of Unix.
    pub(crate) const AT: u64 = 1_790_000_000;

    /// The log policy of [`published`].
    pub(crate) fn witnesses() -> String {
        let log = Signer::new("log.example", Role::Log, [1; 32]).unwrap();
        format!(
            "log {}\nwitness a {}\nwitness b {}\ngroup both all a b\nquorum both\n",
            log.verifier(),
            witness("a.example").verifier(),
            witness("b.example").verifier()
        )
    }

    /// A bundle in a log with two witnesses, and who believes it.
    pub(crate) fn published() -> (Bundle, Trust) {
        let (manifest, signer) = (example(), publisher("someone"));
        let envelope = manifest.sign(&signer).unwrap();
        let entry = Entry::publish(&manifest, &envelope).sign(&signer).unwrap().to_string();
        let mut bundle = Bundle::new(envelope, entry.clone());
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let log_key = Signer::new("log.example", Role::Log, [1; 32]).unwrap();
        let mut log = Log::create(dir, log_key).unwrap();
        log.append(&[b"another".to_vec(), entry.into_bytes(), b"and more".to_vec()]).unwrap();
        for name in ["a.example", "b.example"] {
            let mut note = log.checkpoint().note().clone();
            note.sign(&witness(name), AT).unwrap();
            log.cosigned(&note, witness(name).verifier()).unwrap();
        }
        bundle.published.proof = Some(log.tree().prove(1).unwrap().to_string());
        let trust = Trust { publishers: vec![signer.verifier().clone()], log: Some(witnesses().parse().unwrap()) };
        (bundle, trust)
    }

    fn refused(bundle: &Bundle, trust: &Trust) -> Option<(&'static str, String)> {
        let steps = bundle.verify(trust, Some((&Digests::of(b"component"), &|| Ok(example().build.touches))));
        steps.into_iter().find_map(|step| Some((step.what, step.found.err()?)))
    }

    #[test]
    fn a_bundle_holds_by_itself() {
        let (bundle, trust) = published();
        let bundle = Bundle::parse(&bundle.to_bytes()).unwrap();
        assert_eq!(refused(&bundle, &trust), None);
        let steps = bundle.verify(&trust, Some((&Digests::of(b"component"), &|| Ok(example().build.touches))));
        let steps: Vec<_> = steps.into_iter().map(|s| s.what).collect();
        assert_eq!(steps, ["publisher", "manifest", "component", "entry", "log"]);
    }

    #[test]
    fn every_flipped_byte_of_a_bundle_is_found() {
        let (bundle, trust) = published();
        let bytes = bundle.to_bytes();
        for n in 0..bytes.len() {
            let mut other = bytes.clone();
            other[n] ^= 1 << (n % 8);
            let holds = Bundle::parse(&other).is_ok_and(|bundle| refused(&bundle, &trust).is_none());
            assert!(!holds, "byte {n}: {:?}", String::from_utf8_lossy(&bytes[n.saturating_sub(20)..=n]));
        }
        for cut in 0..bytes.len() {
            assert!(Bundle::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn each_step_refuses_what_it_is_for() {
        let (bundle, trust) = published();
        let other = publisher("someone.else");
        let nobody = Trust { publishers: vec![other.verifier().clone()], ..trust.clone() };
        let elsewhere = Signer::new("someone", Role::Publisher, [8; 32]).unwrap().verifier().clone();
        let another_key = Trust { publishers: vec![elsewhere], ..trust.clone() };
        let why = refused(&bundle, &nobody).unwrap();
        assert!(why.0 == "publisher" && why.1.contains("none of the 1 publishers"), "{why:?}");
        let why = refused(&bundle, &another_key).unwrap();
        assert!(why.0 == "publisher" && why.1.contains("none of the 1 publishers"), "{why:?}");

        // What is not these bytes is not looked into.
        let steps = bundle.verify(&trust, Some((&Digests::of(b"other bytes"), &|| unreachable!())));
        assert!(steps.last().is_some_and(|s| s.what == "component" && s.found.is_err()));

        let with = |change: &dyn Fn(&mut Bundle)| {
            let mut other = bundle.clone();
            change(&mut other);
            refused(&other, &trust).unwrap()
        };
        let signer = publisher("someone");
        let newer = Manifest { version: semver::Version::new(1, 2, 1), ..example() };
        let envelope = newer.sign(&signer).unwrap();
        let its = Entry::publish(&newer, &envelope).sign(&signer).unwrap().to_string();
        let why = with(&|b| b.published.entry = its.clone());
        assert!(why.0 == "entry" && why.1.contains("another manifest"), "{why:?}");
        // Entry and manifest of the newer build, and the proof of the older.
        let why = with(&|b| {
            b.manifest = envelope.clone();
            b.published.entry = its.clone();
        });
        assert!(why.0 == "log" && why.1.contains("does not lead"), "{why:?}");
        let why = with(&|b| b.published.proof = None);
        assert!(why.0 == "log" && why.1.contains("in no log"), "{why:?}");
        let cosigned_once = |b: &mut Bundle| {
            let proof = b.published.proof.take().unwrap();
            b.published.proof =
                Some(proof.lines().filter(|l| !l.contains("b.example")).map(|l| format!("{l}\n")).collect());
        };
        let why = with(&cosigned_once);
        assert!(why.0 == "log" && why.1.contains("lacks witnesses"), "{why:?}");

        let manifest = example();
        let (name, version, blake3) = (manifest.name, manifest.version, manifest.digests.blake3);
        let yank = |blake3, key: &Signer| {
            let entry =
                Entry::Yank { name: name.clone(), version: version.clone(), blake3, reason: "wrong sums".into() };
            let mut note = crate::Note::new(entry.to_string()).unwrap();
            note.sign(key, 0).unwrap();
            Logged { entry: note.to_string(), proof: None }
        };
        let why = with(&|b| b.yanks = vec![yank(blake3, &signer)]);
        assert!(why.0 == "yank" && why.1.contains("wrong sums"), "{why:?}");
        assert!(with(&|b| b.yanks = vec![yank(blake3, &other)]).1.contains("not signed"));
        let many = Bundle { yanks: vec![yank(blake3, &signer); YANKS_MAX + 1], ..bundle.clone() };
        assert!(many.checked_bytes().is_err());
        assert!(with(&|b| b.yanks = vec![yank(Hash::from_bytes([0; 32]), &signer)]).1.contains("another build"));
    }
}
