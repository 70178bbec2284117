//! Engine images: a component compiled for this machine by a jailed process, in a cache that only this user can read.
//!
//! An image is machine code that cells will run, so it is used only if this machine made it: beside it lies a BLAKE3 keyed
//! with a secret of the cache over what it is of and its bytes, which is checked each time the image is opened. Cells get the
//! open file, not its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use memmap2::{Advice, Mmap};
use rustix::fs::{Advice as FsAdvice, MemfdFlags, fadvise, memfd_create};
use wasmtime::Engine;

use crate::cell::{CellTask, IMAGE_FD};
use crate::process::CellCommand;
use crate::{Variant, limits};

/// Where compiled images are kept, and how they are made.
#[derive(Clone, Debug)]
pub struct ImageCache {
    dir: PathBuf,
    key: [u8; 32],
    compiler: CellCommand,
    cancelled: Arc<AtomicBool>,
}

/// A compiled engine on disk, ready to be mapped by cells.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) file: Arc<File>,
    path: PathBuf,
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
    #[error("engine cache {0} belongs to another user or can be written by others; make it yours, with mode 0700")]
    Unsafe(PathBuf),
    /// Over the limit.
    #[error("the engine has {0} bytes, at most {max} are compiled", max = limits::COMPONENT_BYTES)]
    TooLarge(usize),
    /// The compiler was ended.
    #[error("the engine did not compile within {0} s, the limit for its size")]
    CompileTime(u64),
    /// The bytes are not those that were asked for.
    #[error("the engine's bytes have BLAKE3 {actual}, expected {expected}")]
    WrongBytes {
        /// Asked for.
        expected: blake3::Hash,
        /// Found.
        actual: blake3::Hash,
    },
    /// This machine gives no compiler.
    #[error("the compiler cannot be started: {0}")]
    Start(io::Error),
    /// It ended without a word: for want of memory, say.
    #[error("the compiler ended without a word: {0}")]
    Ended(String),
    /// Nobody wants it any more.
    #[error("the compilation was called off")]
    Cancelled,
    /// wasmtime refuses it.
    #[error("the engine cannot be compiled: {0}")]
    Compile(String),
}

impl ImageCache {
    /// A cache in `dir`, which is made with mode 0700; `compiler` is how this program starts a cell.
    ///
    /// # Errors
    /// [`ImageError::Io`], or [`ImageError::Unsafe`] when others can write there.
    pub fn open(dir: impl Into<PathBuf>, compiler: CellCommand) -> Result<Self, ImageError> {
        let dir = dir.into();
        let err = |source| ImageError::Io { path: dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(err)?;
        let meta = fs::metadata(&dir).map_err(err)?;
        if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(ImageError::Unsafe(dir));
        }
        let key = secret(&dir.join("image.key")).map_err(err)?;
        Ok(Self { dir, key, compiler, cancelled: Arc::default() })
    }

    /// Whose compilations end when this is set.
    #[must_use]
    pub fn cancelled_by(self, cancelled: Arc<AtomicBool>) -> Self {
        Self { cancelled, ..self }
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
        let wasmtime = variant.engine(self.compiler.baseline).map_err(|e| ImageError::Compile(format!("{e:#}")))?;
        let path = self.path(&wasmtime, engine, variant);
        let err = |source| ImageError::Io { path: path.clone(), source };
        let image = |file: File| Image { file: Arc::new(file), path: path.clone(), variant, engine };
        if let Some(file) = self.authentic(&path).map_err(err)? {
            return Ok(image(file));
        }
        let lock = private_file(&path.with_extension("lock")).map_err(err)?;
        lock.lock().map_err(err)?;
        if let Some(file) = self.authentic(&path).map_err(err)? {
            return Ok(image(file));
        }
        let bytes = bytes().map_err(err)?;
        if bytes.len() > limits::COMPONENT_BYTES {
            return Err(ImageError::TooLarge(bytes.len()));
        }
        let actual = blake3::hash(&bytes);
        if actual != engine {
            return Err(ImageError::WrongBytes { expected: engine, actual });
        }
        on_compile(bytes.len());
        let compiled = compile(&self.compiler, variant, &bytes, &self.cancelled)?;
        self.keep(compiled, &path).map_err(err)?;
        let _ = fs::remove_file(path.with_extension("lock"));
        let file = self.authentic(&path).map_err(err)?.ok_or_else(|| err(io::ErrorKind::InvalidData.into()))?;
        Ok(image(file))
    }

    /// The image if it is there and this cache made it.
    fn authentic(&self, path: &Path) -> io::Result<Option<File>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut hasher = self.hasher(path);
        hasher.update_rayon(&map_in_huge_pages(&file)?);
        let kept = fs::read_to_string(path.with_extension("mac")).unwrap_or_default();
        // blake3::Hash compares in constant time.
        Ok(blake3::Hash::from_hex(kept.trim()).is_ok_and(|kept| kept == hasher.finalize()).then_some(file))
    }

    /// Moves what the compiler wrote into the cache, its code first, so that a crash leaves an image without a code, which
    /// is none.
    fn keep(&self, mut compiled: File, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        let mut file = private_file(&part)?;
        file.set_len(0)?;
        compiled.rewind()?;
        io::copy(&mut compiled, &mut file)?;
        file.sync_all()?;
        let mut hasher = self.hasher(path);
        hasher.update_mmap_rayon(&part)?;
        let mut mac = private_file(&path.with_extension("mac"))?;
        mac.set_len(0)?;
        mac.write_all(hasher.finalize().to_hex().as_bytes())?;
        mac.sync_all()?;
        // What reads it next does so in huge pages, which must not find it in small ones.
        let _ = fadvise(&file, 0, None, FsAdvice::DontNeed);
        fs::rename(&part, path)
    }

    /// Named for all that the machine code depends on: engine, variant, and wasmtime's fingerprint, each whole.
    fn path(&self, wasmtime: &Engine, engine: blake3::Hash, variant: Variant) -> PathBuf {
        self.dir.join(format!("{engine}-{variant}-{}.cwasm", fingerprint(wasmtime)))
    }

    /// Has taken the image's name, so that an image under another's name is none.
    fn hasher(&self, path: &Path) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
        hasher
    }
}

/// Hash of wasmtime's version and all its settings, the target's instructions included.
fn fingerprint(engine: &Engine) -> blake3::Hash {
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
    h.0.finalize()
}

/// Runs the compiler in a cell; what it wrote.
fn compile(
    command: &CellCommand,
    variant: Variant,
    component: &[u8],
    cancelled: &AtomicBool,
) -> Result<File, ImageError> {
    let failed = ImageError::Start;
    let mut input = memory_file("eider-component").map_err(failed)?;
    input.write_all(component).and_then(|()| input.rewind()).map_err(failed)?;
    let output = memory_file("eider-image").map_err(failed)?;
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let mut process = Command::new(&command.program);
    process
        .args(command.args(CellTask::Compile(variant)))
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(Stdio::piped());
    let passed = vec![FdMapping { parent_fd: input.into(), child_fd: IMAGE_FD }];
    process.fd_mappings(passed).map_err(|e| failed(io::Error::other(e)))?;
    let mut child = process.spawn().map_err(failed)?;
    drop(process);
    // Read while it runs: a compiler that waits for us to read would be waited for until its time is up.
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = vec![];
        if let Some(mut stderr) = stderr {
            let _ = stderr.by_ref().take(limits::LOG_BYTES).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&said).trim().to_string()
    });
    let seconds = limits::COMPILE_SECONDS + (component.len() as u64 >> 20) * limits::COMPILE_SECONDS_PER_MIB;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        let (late, cancelled) = (Instant::now() > deadline, cancelled.load(Ordering::Relaxed));
        if late || cancelled {
            let _ = child.kill();
            let _ = child.wait();
            return Err(if cancelled { ImageError::Cancelled } else { ImageError::CompileTime(seconds) });
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    drop(ours);
    if status.success() {
        return Ok(output);
    }
    let said = said.join().unwrap_or_default();
    Err(if said.is_empty() { ImageError::Ended(status.to_string()) } else { ImageError::Compile(said) })
}

/// Where the kernel can (6.16 and later on ext4), what is read from disk through this is in the page cache in pages of 2 MiB,
/// and so in every cell: mapping an image's code into one takes a millisecond instead of seventeen, and running it misses
/// the TLB less.
#[expect(unsafe_code, reason = "mapping a file that could be written meanwhile")]
fn map_in_huge_pages(file: &File) -> io::Result<Mmap> {
    // SAFETY: only this user can write in the cache's folder, and an image that is written to has another code.
    let map = unsafe { Mmap::map(file)? };
    let _ = map.advise(Advice::HugePage);
    Ok(map)
}

fn memory_file(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

/// The cache's secret, made at first use.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    file.lock()?;
    let mut key = vec![];
    file.read_to_end(&mut key)?;
    if let Ok(key) = key.try_into() {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn memory(bytes: &[u8]) -> File {
        let mut file = memory_file("test").unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_cache_that_others_can_write_in_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let open = || ImageCache::open(dir.path(), CellCommand::new("none"));
        for (mode, safe) in [(0o700, true), (0o755, true), (0o770, false), (0o707, false)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            let opened = open();
            assert_eq!(opened.is_ok(), safe, "{mode:o}");
            assert!(safe || matches!(opened, Err(ImageError::Unsafe(_))), "{mode:o}");
        }
        let secret = fs::metadata(dir.path().join("image.key")).unwrap();
        assert_eq!(secret.mode() & 0o777, 0o600);
    }

    #[test]
    fn an_image_is_one_under_its_own_name_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ImageCache::open(dir.path().join("engines"), CellCommand::new("none")).unwrap();
        let wasmtime = Variant::Plain.engine(crate::Baseline::HERE).unwrap();
        let path = |engine: &[u8], variant| cache.path(&wasmtime, blake3::hash(engine), variant);
        let (mine, other) = (path(b"mine", Variant::Plain), path(b"other", Variant::Plain));
        cache.keep(memory(b"code of mine"), &mine).unwrap();
        assert!(cache.authentic(&mine).unwrap().is_some());
        for other in [other, path(b"mine", Variant::Metered)] {
            for extension in ["cwasm", "mac"] {
                fs::copy(mine.with_extension(extension), other.with_extension(extension)).unwrap();
            }
            assert!(cache.authentic(&other).unwrap().is_none(), "{}", other.display());
        }
        fs::write(&mine, b"code of mime").unwrap();
        assert!(cache.authentic(&mine).unwrap().is_none());
    }
}
