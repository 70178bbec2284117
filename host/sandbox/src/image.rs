//! Engine images: a component compiled for this machine, in a cache that only this user can write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;

use crate::Variant;

/// Largest component that is compiled, bytes: DuckDB has 55 MB.
const COMPONENT_MAX: usize = 512 << 20;

/// Where compiled images are kept.
#[derive(Clone, Debug)]
pub struct ImageCache {
    dir: PathBuf,
}

/// A compiled engine on disk, ready to be mapped by cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(crate) path: PathBuf,
    pub(crate) variant: Variant,
    engine: blake3::Hash,
}

impl Image {
    /// How it was compiled.
    pub fn variant(&self) -> Variant {
        self.variant
    }
    /// BLAKE3 of the component.
    pub fn engine(&self) -> blake3::Hash {
        self.engine
    }
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The cache folder or a file in it.
    #[error("engine cache {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
    /// Somebody else could have written what we would run.
    #[error("engine cache {0} belongs to another user or can be written by others; make it yours with mode 0700")]
    Unsafe(PathBuf),
    /// Over the limit.
    #[error("the engine has {0} bytes, at most {COMPONENT_MAX} are compiled")]
    TooLarge(usize),
    /// The bytes are not those that were asked for.
    #[error("the engine's bytes have BLAKE3 {actual}, expected {expected}")]
    WrongBytes {
        /// Asked for.
        expected: blake3::Hash,
        /// Found.
        actual: blake3::Hash,
    },
    /// wasmtime refuses it.
    #[error("the engine cannot be compiled: {0}")]
    Compile(String),
}

impl ImageCache {
    /// A cache in `dir`, which is made with mode 0700.
    ///
    /// # Errors
    /// [`ImageError::Io`], or [`ImageError::Unsafe`] when others can write there.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let dir = dir.into();
        let err = |source| ImageError::Io { path: dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(err)?;
        let meta = fs::metadata(&dir).map_err(err)?;
        if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(ImageError::Unsafe(dir));
        }
        Ok(Self { dir })
    }

    /// The image of an engine, compiled if it is not there. `bytes` is called only then, and `on_compile` with their
    /// number before it takes minutes. Two processes that ask at once compile once.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn image(
        &self,
        engine: blake3::Hash,
        variant: Variant,
        bytes: impl FnOnce() -> io::Result<Vec<u8>>,
        on_compile: impl FnOnce(usize),
    ) -> Result<Image, ImageError> {
        let wasmtime = Engine::new(&variant.config()).map_err(|e| ImageError::Compile(format!("{e:#}")))?;
        let path = self.path(&wasmtime, engine, variant);
        let image = Image { path: path.clone(), variant, engine };
        if path.exists() {
            return Ok(image);
        }
        let err = |source| ImageError::Io { path: path.clone(), source };
        let lock = private_file(&path.with_extension("lock")).map_err(err)?;
        lock.lock().map_err(err)?;
        if path.exists() {
            return Ok(image);
        }
        let bytes = bytes().map_err(err)?;
        if bytes.len() > COMPONENT_MAX {
            return Err(ImageError::TooLarge(bytes.len()));
        }
        let actual = blake3::hash(&bytes);
        if actual != engine {
            return Err(ImageError::WrongBytes { expected: engine, actual });
        }
        on_compile(bytes.len());
        let compiled = wasmtime.precompile_component(&bytes).map_err(|e| ImageError::Compile(format!("{e:#}")))?;
        let part = path.with_extension("part");
        let mut file = private_file(&part).map_err(err)?;
        file.set_len(0).and_then(|()| file.write_all(&compiled)).and_then(|()| file.sync_all()).map_err(err)?;
        fs::rename(&part, &path).map_err(err)?;
        let _ = fs::remove_file(path.with_extension("lock"));
        Ok(image)
    }

    /// Named for all that the machine code depends on.
    fn path(&self, wasmtime: &Engine, engine: blake3::Hash, variant: Variant) -> PathBuf {
        let key = Fingerprint::of(wasmtime);
        self.dir.join(format!("{}-{variant}-{key}.cwasm", &engine.to_hex()[..20]))
    }
}

/// Hash of wasmtime's version, compiler settings and CPU features.
struct Fingerprint;

impl Fingerprint {
    fn of(engine: &Engine) -> String {
        struct Blake(blake3::Hasher);
        impl std::hash::Hasher for Blake {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut h = Blake(blake3::Hasher::new());
        std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut h);
        h.0.finalize().to_hex()[..16].to_string()
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}
