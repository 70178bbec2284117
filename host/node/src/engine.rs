//! The engine binary: the one that is built in, or a component file.

use std::io;
use std::path::{Path, PathBuf};

use eider_protocol::Hash;

/// The lock file beside the binary says what it is.
const LOCK: &str = include_str!("../../../guest/duckdb/engine.lock");
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

    /// The component.
    ///
    /// # Errors
    /// Reading or unpacking.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        match &self.from {
            From::BuiltIn => unpack(PACKED),
            From::File(path) if path.extension().is_some_and(|e| e == "zst") => unpack(std::fs::File::open(path)?),
            From::File(path) => std::fs::read(path),
        }
    }
}

fn unpack(packed: impl io::Read) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::new(packed)?;
    decoder.window_log_max(27)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(decoder, UNPACKED_MAX), &mut bytes)?;
    Ok(bytes)
}
