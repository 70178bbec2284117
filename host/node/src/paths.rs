//! Where a node keeps its things.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

/// Folders of a node. `EIDER_HOME` and `EIDER_CACHE` override the XDG base directories.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Keys, past jobs, a worker's cached inputs, results and collateral, its pause.
    pub home: PathBuf,
    /// What can be made again: compiled engines.
    pub cache: PathBuf,
}

/// No place to keep anything.
#[derive(Debug, thiserror::Error)]
#[error("neither EIDER_HOME nor HOME is set: say where keys and caches may be kept")]
pub struct PathsError;

/// Opens a folder, made if it is not there and readable by its owner alone; what is in it is reached through this and by no path.
///
/// # Errors
/// Making or opening it.
pub fn folder(path: &Path) -> io::Result<Dir> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Dir::open_ambient_dir(path, ambient_authority())
}

impl Paths {
    /// From the environment.
    ///
    /// # Errors
    /// [`PathsError`].
    pub fn from_env() -> Result<Self, PathsError> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let under_home = |rest: &str| var("HOME").map(|h| h.join(rest));
        let home = var("EIDER_HOME")
            .or_else(|| var("XDG_DATA_HOME").map(|d| d.join("eider")))
            .or_else(|| under_home(".local/share/eider"))
            .ok_or(PathsError)?;
        let cache = var("EIDER_CACHE")
            .or_else(|| var("XDG_CACHE_HOME").map(|d| d.join("eider")))
            .or_else(|| under_home(".cache/eider"))
            .ok_or(PathsError)?;
        Ok(Self { home, cache })
    }

    /// The node's key file.
    pub fn key(&self) -> PathBuf {
        self.home.join("node.key")
    }
    /// Inputs that a worker caches.
    pub fn inputs(&self) -> PathBuf {
        self.home.join("inputs")
    }
    /// Results that a worker keeps, in files without a name.
    pub fn spool(&self) -> PathBuf {
        self.home.join("spool")
    }
    /// Collateral that a worker has fetched; nothing else is in it.
    pub fn collateral(&self) -> PathBuf {
        self.home.join("collateral")
    }
    /// Engine builds that this node has, with what is published of them; nothing else is in it.
    pub fn builds(&self) -> PathBuf {
        self.home.join("engines")
    }
    /// Which engine builds this node takes, if its owner has said so.
    pub fn engine_policy(&self) -> PathBuf {
        self.home.join("engines.toml")
    }
    /// Compiled engines.
    pub fn engines(&self) -> PathBuf {
        self.cache.join("engines")
    }
}
