//! The builds that a node has: each its component and its bundle, named by the component's BLAKE3, and what was admitted of each name before.
//!
//! ```text
//! HASH.bundle      what is published of it
//! HASH.wasm        the component, all of it, compared with its manifest when it came
//! HASH.part        the beginning of a component that is being fetched
//! HASH.fetched     empty: a worker fetched it for a job, and may drop it; what its owner has put there stays
//! yanks.json       what is known to be taken back, also of builds that are not here any more
//! admitted.json    for each name, what its builds asked for that were admitted
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::time::SystemTime;

use cap_std::fs::{Dir, File, OpenOptions};
use eider_protocol::Hash;
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bundle::{BUNDLE_MAX, Bundle, BundleError};
use crate::manifest::{Digests, EngineName, Manifest, ManifestError, Touches, version};

/// Largest component, bytes: what a sandbox compiles at most.
pub const COMPONENT_MAX: u64 = 512 << 20;
/// Largest list of what was admitted, bytes.
const ADMITTED_MAX: usize = 8 << 20;
const ADMITTED: &str = "admitted.json";
/// Largest list of yanks, bytes, and most of one build.
const YANKED_MAX: usize = 16 << 20;
const YANKS_MAX: usize = 64;
const YANKED: &str = "yanks.json";
const LOCK: &str = "lock";

/// Why a store does not give or take something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it.
    #[error("the store of engines: {0}")]
    Io(#[from] io::Error),
    /// A bundle that is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Bytes that are not those of its manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Larger than is kept.
    #[error("its component has {0} bytes, at most {COMPONENT_MAX} are kept")]
    TooLarge(u64),
    /// Another process fetches it.
    #[error("another process fetches it")]
    Busy,
    /// A list cannot be read.
    #[error(
        "{0} of the store of engines (`engines` in EIDER_HOME) is damaged: {1}; move it away, and what it knew is forgotten"
    )]
    List(&'static str, String),
    /// A list has grown too large.
    #[error("{0} of the store of engines would have {1} bytes, at most {2} are kept")]
    Full(&'static str, usize, usize),
    /// There is none.
    #[error("{0}")]
    Unknown(String),
}

/// What a user calls an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A name, and the version if not the newest.
    Named(EngineName, Option<Version>),
    /// The component's BLAKE3.
    Bytes(Hash),
}

impl FromStr for Wanted {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        if let Ok(hash) = text.parse() {
            return Ok(Self::Bytes(hash));
        }
        let (name, version) = match text.split_once('@') {
            Some((name, of)) => (name, Some(version(of)?)),
            None => (text, None),
        };
        Ok(Self::Named(name.parse()?, version))
    }
}

/// A build of the store.
#[derive(Clone, Debug)]
pub struct Stored {
    /// BLAKE3 of its component.
    pub hash: Hash,
    /// What is published of it. Nothing of it was checked but the bytes.
    pub bundle: Bundle,
    /// What is known to take it back, beside the bundle's own.
    pub yanks: Vec<String>,
    /// What its publisher says of it.
    pub manifest: Manifest,
    /// Whether its component is there.
    pub whole: bool,
}

/// Builds in a folder, which nothing else is in.
#[derive(Debug)]
pub struct EngineStore {
    dir: Dir,
}

/// The beginning of a component that is being fetched, which this process alone writes.
#[derive(Debug)]
pub struct Part {
    file: File,
    have: u64,
}

impl Part {
    /// Bytes that are there.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Adds what comes next.
    ///
    /// # Errors
    /// Writing it.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.have += bytes.len() as u64;
        Ok(())
    }
}

fn missing_is_none<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

impl EngineStore {
    /// A store in this folder.
    pub fn open(dir: Dir) -> Self {
        Self { dir }
    }

    /// Held by the one process, and thread, that writes: a worker and its owner's commands share a store.
    fn alone(&self) -> io::Result<std::fs::File> {
        let file = self.dir.open_with(LOCK, OpenOptions::new().write(true).create(true))?.into_std();
        // No longer than another writes some megabytes.
        file.lock()?;
        Ok(file)
    }

    /// Puts a file in its place, whole or not at all; for whoever is [`Self::alone`].
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = format!("{name}.new");
        let mut file = self.dir.create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.dir.rename(&part, &self.dir, name)?;
        self.sync()
    }

    /// Makes names last.
    fn sync(&self) -> io::Result<()> {
        self.dir.open(".")?.sync_all()
    }

    fn bounded(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = missing_is_none(self.dir.open(name))? else { return Ok(None) };
        let mut bytes = vec![];
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > most {
            Err(io::Error::other(format!("{name} has more than {most} bytes")))
        } else {
            Ok(Some(bytes))
        }
    }

    /// Keeps what is published of a build, together with what was known of it, and says of which build it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_bundle(&self, bundle: Bundle) -> Result<Hash, StoreError> {
        let manifest = Manifest::read(&bundle.manifest)?;
        let hash = manifest.digests.blake3;
        if manifest.digests.size > COMPONENT_MAX {
            return Err(StoreError::TooLarge(manifest.digests.size));
        }
        let _alone = self.alone()?;
        // What cannot be read any more is replaced.
        let earlier = self.bundle(&hash).ok().flatten();
        let bundle = bundle.with_what_is_known(earlier);
        self.put(&format!("{hash}.bundle"), &bundle.checked_bytes()?)?;
        Ok(hash)
    }

    /// What is published of a build, if that is here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn bundle(&self, hash: &Hash) -> Result<Option<Bundle>, StoreError> {
        let bytes = self.bounded(&format!("{hash}.bundle"), BUNDLE_MAX)?;
        Ok(bytes.map(|bytes| Bundle::parse(&bytes)).transpose()?)
    }

    /// A build's component, if it is here.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn component(&self, hash: &Hash) -> Result<Option<std::fs::File>, StoreError> {
        let file = missing_is_none(self.dir.open(format!("{hash}.wasm")))?;
        Ok(file.map(File::into_std))
    }

    /// A build's component, all of it.
    ///
    /// # Errors
    /// [`StoreError`], also where it is not here.
    pub fn component_bytes(&self, hash: &Hash) -> Result<Vec<u8>, StoreError> {
        let file = self.component(hash)?.ok_or_else(|| StoreError::Unknown(format!("{hash} is not here")))?;
        let mut bytes = vec![];
        file.take(COMPONENT_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > COMPONENT_MAX { Err(StoreError::TooLarge(bytes.len() as u64)) } else { Ok(bytes) }
    }

    /// The beginning of a component: empty, or what was fetched of it before. No more than `size` bytes of it are believed to be of any use.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Io`].
    pub fn part(&self, hash: &Hash, size: u64) -> Result<Part, StoreError> {
        let name = format!("{hash}.part");
        let file = self.dir.open_with(&name, OpenOptions::new().read(true).append(true).create(true))?;
        let std = file.into_std();
        std.try_lock().map_err(|e| match e {
            std::fs::TryLockError::WouldBlock => StoreError::Busy,
            std::fs::TryLockError::Error(e) => StoreError::Io(e),
        })?;
        let have = match std.metadata()?.len() {
            // Whole groups: what comes next begins with one.
            have if have < size => have - have % eider_protocol::CHUNK_GROUP_BYTES,
            have if have == size => have,
            _ => 0,
        };
        std.set_len(have)?;
        Ok(Part { file: File::from_std(std), have })
    }

    /// Keeps a component that was fetched, if it is the one that its manifest names; the part is gone if not.
    ///
    /// # Errors
    /// [`StoreError::Manifest`], [`StoreError::Io`].
    pub fn complete(&self, part: Part, digests: &Digests) -> Result<(), StoreError> {
        let name = format!("{}.part", digests.blake3);
        let bytes = self.bounded(&name, usize::try_from(digests.size).unwrap_or(usize::MAX))?.unwrap_or_default();
        let found = digests.same(&Digests::of(&bytes));
        if let Err(e) = found {
            self.dir.remove_file(&name)?;
            return Err(e.into());
        }
        part.file.sync_all()?;
        self.dir.rename(&name, &self.dir, format!("{}.wasm", digests.blake3))?;
        Ok(self.sync()?)
    }

    /// Keeps a component that is there in memory, if it is the one that its manifest names.
    ///
    /// # Errors
    /// [`StoreError::Manifest`], [`StoreError::Io`].
    pub fn put_component(&self, digests: &Digests, bytes: &[u8]) -> Result<(), StoreError> {
        digests.same(&Digests::of(bytes))?;
        let _alone = self.alone()?;
        self.put(&format!("{}.wasm", digests.blake3), bytes)?;
        self.keep(&digests.blake3)
    }

    /// From now on it is the owner's, and stays.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep(&self, hash: &Hash) -> Result<(), StoreError> {
        missing_is_none(self.dir.remove_file(format!("{hash}.fetched")))?;
        Ok(())
    }

    /// Says that what comes of a build is fetched for jobs, and may be dropped.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn mark_fetched(&self, hash: &Hash) -> Result<(), StoreError> {
        self.dir.create(format!("{hash}.fetched"))?;
        Ok(())
    }

    /// Whether a build was fetched for jobs, and not put here by the owner.
    pub fn is_fetched(&self, hash: &Hash) -> bool {
        self.dir.exists(format!("{hash}.fetched"))
    }

    /// All builds of which there is something, also what cannot be read, in the order of their hashes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn hashes(&self) -> Result<Vec<Hash>, StoreError> {
        let mut hashes = vec![];
        for entry in self.dir.entries()? {
            let name = entry?.file_name();
            let hash: Option<Hash> =
                name.to_str().and_then(|name| name.split_once('.')).and_then(|(hash, _)| hash.parse().ok());
            hashes.extend(hash);
        }
        hashes.sort_unstable();
        hashes.dedup();
        Ok(hashes)
    }

    /// All builds, in the order of their hashes. A bundle that cannot be read is left out.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::List`].
    pub fn list(&self) -> Result<Vec<Stored>, StoreError> {
        let mut all = vec![];
        for hash in self.hashes()? {
            match self.get(&hash) {
                Ok(stored) => all.extend(stored),
                Err(StoreError::Bundle(_) | StoreError::Manifest(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    /// When what is published of a build, and what is known of yanks, were last written here.
    pub fn times(&self, hash: &Hash) -> (Option<SystemTime>, Option<SystemTime>) {
        let time = |name: &str| {
            let written = self.dir.metadata(name).and_then(|m| m.modified());
            written.ok().map(cap_std::time::SystemTime::into_std)
        };
        (time(&format!("{hash}.bundle")), time(YANKED))
    }

    /// One build, if what is published of it is here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&self, hash: &Hash) -> Result<Option<Stored>, StoreError> {
        let Some(bundle) = self.bundle(hash)? else { return Ok(None) };
        let manifest = Manifest::read(&bundle.manifest)?;
        let whole = self.component(hash)?.is_some();
        let yanks = self.yanks(hash)?;
        Ok((manifest.digests.blake3 == *hash).then_some(Stored { hash: *hash, bundle, yanks, manifest, whole }))
    }

    /// The build that somebody means: of a name without a version the newest, which is no pre-release if there is another.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], with what there is.
    pub fn find(&self, wanted: &Wanted) -> Result<Stored, StoreError> {
        let all = self.list()?;
        let unknown = |what: String| {
            StoreError::Unknown(format!(
                "{what} is not in this node's store of engines: `eider engine add` puts it there"
            ))
        };
        match wanted {
            Wanted::Bytes(hash) => all.into_iter().find(|s| s.hash == *hash).ok_or_else(|| unknown(hash.to_string())),
            Wanted::Named(name, version) => {
                let fits =
                    |s: &Stored| s.manifest.name == *name && version.as_ref().is_none_or(|v| *v == s.manifest.version);
                let fitting = all.into_iter().filter(fits);
                let found = fitting.max_by_key(|s| (s.manifest.version.pre.is_empty(), s.manifest.version.clone()));
                let what = version.as_ref().map_or_else(|| name.to_string(), |v| format!("{name}@{v}"));
                found.ok_or_else(|| unknown(what))
            }
        }
    }

    /// Removes a build; whether there was something.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self, hash: &Hash) -> Result<bool, StoreError> {
        let mut any = false;
        for ending in ["bundle", "wasm", "part", "fetched"] {
            any |= missing_is_none(self.dir.remove_file(format!("{hash}.{ending}")))?.is_some();
        }
        Ok(any)
    }

    /// Bytes that the store takes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn used(&self) -> Result<u64, StoreError> {
        let mut bytes = 0u64;
        for entry in self.dir.entries()? {
            bytes = bytes.saturating_add(missing_is_none(entry?.metadata())?.map_or(0, |m| m.len()));
        }
        Ok(bytes)
    }

    fn read_list<T: DeserializeOwned + Default>(&self, name: &'static str, most: usize) -> Result<T, StoreError> {
        let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(|e| StoreError::List(name, e.to_string()));
        Ok(self.bounded(name, most)?.map(read).transpose()?.unwrap_or_default())
    }

    fn put_list<T: Serialize>(&self, name: &'static str, most: usize, list: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec_pretty(list).map_err(|e| StoreError::List(name, e.to_string()))?;
        // What would not be read is not written.
        if bytes.len() > most { Err(StoreError::Full(name, bytes.len(), most)) } else { Ok(self.put(name, &bytes)?) }
    }

    /// Yanks that are known of a build, whoever has signed them.
    ///
    /// # Errors
    /// [`StoreError::List`].
    pub fn yanks(&self, hash: &Hash) -> Result<Vec<String>, StoreError> {
        let mut all: BTreeMap<Hash, Vec<String>> = self.read_list(YANKED, YANKED_MAX)?;
        Ok(all.remove(hash).unwrap_or_default())
    }

    /// Keeps yanks of a build, for ever: also if it is not here, or is here no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_yanks(&self, hash: &Hash, yanks: &[String]) -> Result<(), StoreError> {
        if yanks.is_empty() {
            return Ok(());
        }
        let _alone = self.alone()?;
        let mut all: BTreeMap<Hash, Vec<String>> = self.read_list(YANKED, YANKED_MAX)?;
        let known = all.entry(*hash).or_default();
        let before = known.len();
        for yank in yanks {
            if known.len() < YANKS_MAX && !known.contains(yank) {
                known.push(yank.clone());
            }
        }
        if known.len() == before { Ok(()) } else { self.put_list(YANKED, YANKED_MAX, &all) }
    }

    /// What builds of this name asked for that were admitted, if any were.
    ///
    /// # Errors
    /// [`StoreError::List`].
    pub fn admitted(&self, name: &EngineName) -> Result<Option<Touches>, StoreError> {
        let mut all: BTreeMap<EngineName, Touches> = self.read_list(ADMITTED, ADMITTED_MAX)?;
        Ok(all.remove(name))
    }

    /// From now on builds of this name may ask for as much as this one does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn admit(&self, name: &EngineName, touches: &Touches) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        let mut all: BTreeMap<EngineName, Touches> = self.read_list(ADMITTED, ADMITTED_MAX)?;
        let touches = match all.remove(name) {
            Some(before) if before.grown(touches).is_none() => return Ok(()),
            Some(before) => before.with(touches),
            None => touches.clone(),
        };
        all.insert(name.clone(), touches);
        self.put_list(ADMITTED, ADMITTED_MAX, &all)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;
    use crate::bundle::tests::published;
    use crate::manifest::tests::example;

    fn store() -> (tempfile::TempDir, EngineStore) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        (temp, EngineStore::open(dir))
    }

    #[test]
    fn what_is_found_is_what_was_put_and_of_a_name_the_newest() {
        let (_temp, store) = store();
        let (bundle, _) = published();
        let hash = store.put_bundle(bundle.clone()).unwrap();
        assert!(store.get(&hash).unwrap().is_some_and(|s| !s.whole && s.bundle == bundle));
        let digests = Digests::of(b"component");
        assert!(matches!(store.put_component(&digests, b"other bytes"), Err(StoreError::Manifest(_))));
        store.put_component(&digests, b"component").unwrap();
        assert_eq!(store.component_bytes(&hash).unwrap(), b"component");
        let signer = crate::manifest::tests::publisher("someone");
        for (version, bytes) in [("1.10.0", b"newer"), ("2.0.0-rc.1", b"early")] {
            let manifest = Manifest { version: version.parse().unwrap(), digests: Digests::of(bytes), ..example() };
            let envelope = manifest.sign(&signer).unwrap();
            let entry = crate::Entry::publish(&manifest, &envelope).sign(&signer).unwrap();
            store.put_bundle(Bundle::new(envelope, entry.to_string())).unwrap();
        }
        let found = |text: &str| store.find(&text.parse().unwrap()).map(|s| s.manifest.version.to_string());
        let name = example().name;
        assert_eq!(found(&name.to_string()).unwrap(), "1.10.0");
        assert_eq!(found(&format!("{name}@2.0.0-rc.1")).unwrap(), "2.0.0-rc.1");
        assert_eq!(found(&hash.to_string()).unwrap(), example().version.to_string());
        assert!(found(&format!("{name}@3.0.0")).unwrap_err().to_string().contains("engine add"));
        assert!(store.remove(&hash).unwrap() && !store.remove(&hash).unwrap());
        assert_eq!(store.list().unwrap().len(), 2);
    }

    #[test]
    fn a_part_goes_on_where_it_broke_off_and_is_kept_only_if_it_is_the_component() {
        let (temp, store) = store();
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let digests = Digests::of(&bytes);
        let mut part = store.part(&digests.blake3, digests.size).unwrap();
        assert!(matches!(store.part(&digests.blake3, digests.size), Err(StoreError::Busy)));
        part.append(&bytes[..40_000]).unwrap();
        drop(part);
        let mut part = store.part(&digests.blake3, digests.size).unwrap();
        assert_eq!(part.have(), 32_768, "whole groups");
        part.append(&bytes[32_768..]).unwrap();
        store.complete(part, &digests).unwrap();
        assert_eq!(store.component_bytes(&digests.blake3).unwrap(), bytes);
        // As long, and something else: gone.
        let mut part = store.part(&digests.blake3, digests.size).unwrap();
        part.append(&vec![7; bytes.len()]).unwrap();
        assert!(matches!(store.complete(part, &digests), Err(StoreError::Manifest(_))));
        assert!(!temp.path().join(format!("{}.part", digests.blake3)).exists());
        // What is longer than it can be is begun anew.
        fs_write(&temp, &format!("{}.part", digests.blake3), &vec![0; bytes.len() + 1]);
        assert_eq!(store.part(&digests.blake3, digests.size).unwrap().have(), 0);
    }

    fn fs_write(temp: &tempfile::TempDir, name: &str, bytes: &[u8]) {
        std::fs::write(temp.path().join(name), bytes).unwrap();
    }

    #[test]
    fn yanks_that_are_known_stay_also_when_the_build_goes() {
        let (_temp, store) = store();
        let (bundle, _) = published();
        let hash = Digests::of(b"component").blake3;
        store.put_yanks(&hash, &["one".into()]).unwrap();
        store.put_yanks(&hash, &["one".into(), "two".into()]).unwrap();
        store.put_bundle(bundle).unwrap();
        assert_eq!(store.get(&hash).unwrap().unwrap().yanks, ["one", "two"]);
        store.remove(&hash).unwrap();
        assert_eq!(store.yanks(&hash).unwrap(), ["one", "two"]);
        store.put_yanks(&hash, &(0..100).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        assert_eq!(store.yanks(&hash).unwrap().len(), YANKS_MAX);
    }

    #[test]
    fn what_its_owner_puts_there_is_not_fetched_any_more() {
        let (_temp, store) = store();
        let digests = Digests::of(b"component");
        store.mark_fetched(&digests.blake3).unwrap();
        assert!(store.is_fetched(&digests.blake3));
        store.put_component(&digests, b"component").unwrap();
        assert!(!store.is_fetched(&digests.blake3));
    }

    #[test]
    fn what_was_admitted_only_grows() {
        let (temp, store) = store();
        let (name, touches) = (example().name, example().build.touches);
        assert_eq!(store.admitted(&name).unwrap(), None);
        store.admit(&name, &touches).unwrap();
        let less = Touches { imports: vec![], ..touches.clone() };
        store.admit(&name, &less).unwrap();
        assert_eq!(store.admitted(&name).unwrap(), Some(touches.clone()));
        let more = Touches { imports: vec!["other".into()], memories: vec![(9_999, None)], ..touches.clone() };
        store.admit(&name, &more).unwrap();
        let all = store.admitted(&name).unwrap().unwrap();
        assert!(all.grown(&touches).is_none() && all.grown(&more).is_none() && touches.grown(&more).is_some());
        fs_write(&temp, ADMITTED, b"{");
        assert!(matches!(store.admitted(&name), Err(StoreError::List(..))));
    }
}
