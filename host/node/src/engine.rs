//! The engine binary: the one that is built in, a component file, or a build of the node's store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eider_engines::{EnginePolicy, EnginePolicyError, EngineStore, ManifestError, StoreError, Stored, Wanted};
use eider_protocol::Hash;

use crate::Paths;

/// The lock file beside the binary says what it is.
const LOCK: &str = include_str!("../../../guest/duckdb/engine.lock");
/// The engine policy that holds where there is no other.
const SHIPPED_POLICY: &str = include_str!("../../../policies/engines.toml");
const PACKED: &[u8] = include_bytes!("../../../guest/duckdb/duckdb-2.0.0.wasm.zst");
/// Largest component that is unpacked, bytes.
const UNPACKED_MAX: u64 = 512 << 20;

/// An engine that can be loaded.
#[derive(Clone, Debug)]
pub struct EngineBinary {
    /// BLAKE3 of the component.
    pub hash: Hash,
    /// For people.
    pub name: String,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    BuiltIn,
    File(PathBuf),
    Store(Arc<EngineStore>),
}

/// Why an engine cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file.
    #[error("engine {0}: {1}")]
    Io(PathBuf, io::Error),
    /// The lock file of this build.
    #[error("this build's engine.lock is damaged")]
    Lock,
    /// The node's store of engines.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine policy.
    #[error("engine policy {0}: {1}")]
    Policy(PathBuf, EnginePolicyError),
    /// What is neither a file nor an engine's name.
    #[error("engine {0:?} is no file, and no engine of this node's store: {1}")]
    Unknown(String, ManifestError),
    /// Published, and not here.
    #[error("of {0} only what is published is here, not its bytes: `eider engine add` takes them too")]
    NotWhole(String),
}

impl EngineBinary {
    /// DuckDB as this program was built with it.
    ///
    /// # Errors
    /// [`EngineError::Lock`].
    pub fn built_in() -> Result<Self, EngineError> {
        let lock: toml::Table = LOCK.parse().map_err(|_| EngineError::Lock)?;
        let text = |key: &str| lock.get(key).and_then(toml::Value::as_str).ok_or(EngineError::Lock);
        let hash = text("blake3")?.parse().map_err(|_| EngineError::Lock)?;
        Ok(Self { hash, name: format!("{} {}", text("name")?, text("version")?), from: From::BuiltIn })
    }

    /// A component file, compressed with zstd if its name ends in `.zst`.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub fn file(path: &Path) -> Result<Self, EngineError> {
        let engine = Self {
            hash: Hash::from_bytes([0; 32]),
            name: path.display().to_string(),
            from: From::File(path.to_owned()),
        };
        let bytes = engine.bytes().map_err(|e| EngineError::Io(path.to_owned(), e))?;
        Ok(Self { hash: blake3::hash(&bytes).into(), ..engine })
    }

    /// A component file, or a build of this node's store: NAME, NAME@VERSION, or its hash. Also what the store has of it, if it has.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn named(text: &str, store: EngineStore) -> Result<(Self, Option<Stored>), EngineError> {
        let path = Path::new(text);
        if path.is_file() {
            let engine = Self::file(path)?;
            let stored = store.get(&engine.hash)?.filter(|stored| stored.whole);
            return Ok((engine, stored));
        }
        let wanted = text.parse::<Wanted>().map_err(|e| EngineError::Unknown(text.into(), e))?;
        let stored = store.find(&wanted)?;
        let name = format!("{} {}", stored.manifest.name, stored.manifest.version);
        if !stored.whole {
            return Err(EngineError::NotWhole(name));
        }
        Ok((Self { hash: stored.hash, name, from: From::Store(Arc::new(store)) }, Some(stored)))
    }

    /// The component.
    ///
    /// # Errors
    /// Reading or unpacking.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        match &self.from {
            From::BuiltIn => unpack(PACKED),
            From::File(path) if path.extension().is_some_and(|e| e == "zst") => unpack(std::fs::File::open(path)?),
            From::File(path) => std::fs::read(path),
            From::Store(store) => store.component_bytes(&self.hash).map_err(io::Error::other),
        }
    }
}

/// Which engine builds a node takes: by a file, or else by its owner's [`Paths::engine_policy`], or else as shipped; and which file that is.
///
/// # Errors
/// [`EngineError::Policy`].
pub fn engine_policy(paths: &Paths, named: Option<&Path>) -> Result<(EnginePolicy, Option<PathBuf>), EngineError> {
    let own = paths.engine_policy();
    let Some(path) = named.or_else(|| own.exists().then_some(&*own)) else {
        let shipped = EnginePolicy::parse(SHIPPED_POLICY);
        return Ok((shipped.map_err(|e| EngineError::Policy("policies/engines.toml".into(), e))?, None));
    };
    let policy = EnginePolicy::read(path).map_err(|e| EngineError::Policy(path.to_owned(), e))?;
    Ok((policy, Some(path.to_owned())))
}

fn unpack(packed: impl io::Read) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::new(packed)?;
    decoder.window_log_max(27)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(decoder, UNPACKED_MAX), &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eider_engines::Candidate;

    use super::*;

    #[test]
    fn the_shipped_policy_admits_the_engine_that_is_built_in_and_no_other() {
        let policy = EnginePolicy::parse(SHIPPED_POLICY).unwrap();
        let engine = EngineBinary::built_in().unwrap();
        assert!(policy.judge(&Candidate::of_bytes(engine.hash)).admitted().is_some());
        assert_eq!(Hash::from(blake3::hash(&engine.bytes().unwrap())), engine.hash);
        let other = Hash::from_bytes([1; 32]);
        assert!(policy.judge(&Candidate::of_bytes(other)).admitted().is_none() && !policy.would_fetch(&other));
    }
}
