//! Files of people who publish: keys of publishers, logs and witnesses, and what is replaced whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use eider_engines::{EngineName, Role, Signer, Verifier};

/// Largest key file, bytes.
const KEY_MAX: usize = 1024;
/// Modes of what is for all, and of what is for its owner.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// No more than `max` bytes of a file.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    let file = File::open(path).with_context(|| format!("{}", path.display()))?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("{}", path.display()))?;
    ensure!(bytes.len() <= max, "{} has more than the {max} bytes that are read", path.display());
    Ok(bytes)
}

/// The text of a file.
pub(crate) fn text(path: &Path, max: usize) -> Result<String> {
    String::from_utf8(read(path, max)?).with_context(|| format!("{}", path.display()))
}

/// A public key of a command line. Not read by the parser of those, which would repeat a secret that stands there by mistake.
pub(crate) fn verifier(text: &str) -> Result<Verifier> {
    Ok(text.trim().parse::<Verifier>()?)
}

pub(crate) fn verifiers(texts: &[String]) -> Result<Vec<Verifier>> {
    texts.iter().map(|text| verifier(text)).collect()
}

/// Makes a key and writes it, whole and never over another file.
pub(crate) fn new(name: &str, role: Role, path: &Path) -> Result<Signer> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("the operating system gives no randomness: {e}"))?;
    let signer = Signer::new(name, role, seed)?;
    if role == Role::Publisher {
        format!("{name}/engine").parse::<EngineName>().with_context(|| format!("no engine could be {name}'s"))?;
    }
    put(path, format!("{}\n", signer.secret()).as_bytes(), SECRET, false)?;
    Ok(signer)
}

/// Reads a key that has this role.
pub(crate) fn load(path: &Path, role: Role) -> Result<Signer> {
    let exposed = fs::metadata(path).is_ok_and(|m| m.mode() & 0o077 != 0);
    ensure!(!exposed, "{} can be read by others; run: chmod 600 {0}", path.display());
    let bytes = read(path, KEY_MAX)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let signer = Signer::parse(text.trim()).with_context(|| format!("{}", path.display()))?;
    let its = signer.verifier().role();
    ensure!(its == role, "{} is the key of a {its}; a {role} is asked for", path.display());
    Ok(signer)
}

/// Held by the one process that reads and replaces a file.
pub(crate) struct Alone(File);

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Makes this process the one that reads and replaces a file, by a lock beside it.
pub(crate) fn alone(path: &Path) -> Result<Alone> {
    // Of one file by whatever name, as far as it has another.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = Path::new(&lock);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(lock);
    let file = file.with_context(|| format!("{}", lock.display()))?;
    file.try_lock().with_context(|| format!("{} is in use by another process", path.display()))?;
    Ok(Alone(file))
}

/// Puts a file in its place, whole or not at all, and on the disk. One that is new can be read by all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mode = fs::metadata(path).map_or(PUBLIC, |m| m.mode() & 0o777);
    put(path, bytes, mode, true)
}

/// Makes a file, whole or not at all, and on the disk; never over another.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    put(path, bytes, PUBLIC, false)
}

fn put(path: &Path, bytes: &[u8], mode: u32, over: bool) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("{}", folder.display()))?;
    part.write_all(bytes)?;
    part.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    part.as_file().sync_all()?;
    let put = if over { part.persist(path) } else { part.persist_noclobber(path) };
    put.map_err(|e| e.error).with_context(|| format!("{}", path.display()))?;
    File::open(folder)?.sync_all().with_context(|| format!("{}", folder.display()))
}
