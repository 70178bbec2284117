//! A node's key file: the 32-byte Ed25519 seed in hexadecimal, readable by its owner alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use eider_protocol::Identity;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("key file {0}: {1}")]
    Io(PathBuf, io::Error),
    /// There is one already, and it is not overwritten.
    #[error("{0} exists already; a new key would make this a different node (move the file away to do that)")]
    Exists(PathBuf),
    /// Others can read it.
    #[error("{0} can be read by others; run: chmod 600 {0}")]
    Exposed(PathBuf),
    /// Not a key.
    #[error("{0} does not hold a key: 64 hexadecimal digits are expected")]
    Malformed(PathBuf),
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(getrandom::Error),
}

/// Reads a key file.
///
/// # Errors
/// [`KeyError`].
pub fn load_key(path: &Path) -> Result<Identity, KeyError> {
    let err = |e| KeyError::Io(path.to_owned(), e);
    let file = File::open(path).map_err(err)?;
    if file.metadata().map_err(err)?.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.take(200).read_to_string(&mut text).map_err(err)?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(Identity::from_seed(seed))
}

/// Makes a key and writes it; never over an existing one. Whoever looks meanwhile finds no key or all of it.
///
/// # Errors
/// [`KeyError`].
pub fn new_key(path: &Path) -> Result<Identity, KeyError> {
    if path.symlink_metadata().is_ok() {
        return Err(KeyError::Exists(path.to_owned()));
    }
    let identity = Identity::generate().map_err(KeyError::Random)?;
    let err = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Io(path.to_owned(), e),
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(err)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(KeyError::Random)?;
    let part = path.with_file_name(format!(".key-{}", hex::encode(random)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(err)?;
    let written = writeln!(file, "{}", hex::encode(identity.seed())).and_then(|()| file.sync_all());
    // Unlike a rename, a link takes no name that another has taken meanwhile.
    let linked = written.and_then(|()| std::fs::hard_link(&part, path));
    let removed = std::fs::remove_file(&part);
    linked.and(removed).and_then(|()| File::open(folder)?.sync_all()).map_err(err)?;
    Ok(identity)
}

/// Reads a key file, or makes one; says whether it did.
///
/// # Errors
/// [`KeyError`].
pub fn load_or_create_key(path: &Path) -> Result<(Identity, bool), KeyError> {
    match new_key(path) {
        Ok(identity) => Ok((identity, true)),
        Err(KeyError::Exists(_)) => load_key(path).map(|i| (i, false)),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_finds_no_key_or_a_whole_one() {
        // In memory, where there is such a folder.
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let dir = dir.join(format!("eider-key-{}", std::process::id()));
        // Another process that starts at the same moment.
        let look = |path: &Path| loop {
            match load_key(path) {
                Err(KeyError::Io(_, e)) if e.kind() == io::ErrorKind::NotFound => std::hint::spin_loop(),
                found => return found,
            }
        };
        let one = |n: u32| {
            let path = dir.join(n.to_string());
            let (made, found) = std::thread::scope(|scope| {
                let other = scope.spawn(|| look(&path));
                (load_or_create_key(&path).unwrap(), other.join().unwrap())
            });
            assert!(made.1 && matches!(new_key(&path), Err(KeyError::Exists(_))));
            (made.0.node_id(), found.map(|identity| identity.node_id()).map_err(|e| e.to_string()))
        };
        let keys: Vec<_> = (0..500).map(one).collect();
        let left = std::fs::read_dir(&dir).unwrap().count();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(left, keys.len());
        for (made, found) in keys {
            assert_eq!(found, Ok(made));
        }
    }
}
