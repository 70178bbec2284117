//! Where a node keeps its things.

use std::path::PathBuf;

/// Folders of a node. `EIDER_HOME` and `EIDER_CACHE` override the XDG base directories.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Keys.
    pub home: PathBuf,
    /// What can be made again: compiled engines, cached inputs.
    pub cache: PathBuf,
}

/// No place to keep anything.
#[derive(Debug, thiserror::Error)]
#[error("neither EIDER_HOME nor HOME is set: say where keys and caches may be kept")]
pub struct PathsError;

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
    /// Compiled engines.
    pub fn engines(&self) -> PathBuf {
        self.cache.join("engines")
    }
}
