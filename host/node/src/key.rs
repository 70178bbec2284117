//! A node's key file: the 32-byte Ed25519 seed in hexadecimal, readable by its owner alone.

use std::fs::{DirBuilder, OpenOptions};
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
    let file = std::fs::File::open(path).map_err(err)?;
    if file.metadata().map_err(err)?.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.take(200).read_to_string(&mut text).map_err(err)?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(Identity::from_seed(seed))
}

/// Makes a key and writes it; never over an existing one.
///
/// # Errors
/// [`KeyError`].
pub fn new_key(path: &Path) -> Result<Identity, KeyError> {
    let identity = Identity::generate().map_err(KeyError::Random)?;
    let err = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Io(path.to_owned(), e),
    };
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(err)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(err)?;
    writeln!(file, "{}", hex::encode(identity.seed())).and_then(|()| file.sync_all()).map_err(err)?;
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
