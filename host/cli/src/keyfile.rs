//! Files of people who publish: keys of publishers, logs and witnesses, and what is replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use eider_engines::{Role, Signer};

/// Largest key file, bytes.
const KEY_MAX: usize = 1024;

/// No more than `max` bytes of a file.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    let file = File::open(path).with_context(|| format!("{}", path.display()))?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("{}", path.display()))?;
    ensure!(bytes.len() <= max, "{} has more than the {max} bytes that are read", path.display());
    Ok(bytes)
}

/// Makes a key and writes it, never over another file.
pub(crate) fn new(name: &str, role: Role, path: &Path) -> Result<Signer> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("the operating system gives no randomness: {e}"))?;
    let signer = Signer::new(name, role, seed)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("{}", path.display()))?;
    writeln!(file, "{}", signer.secret()).and_then(|()| file.sync_all())?;
    Ok(signer)
}

/// Reads a key that has this role.
pub(crate) fn load(path: &Path, role: Role) -> Result<Signer> {
    let exposed = std::fs::metadata(path).is_ok_and(|m| m.mode() & 0o077 != 0);
    ensure!(!exposed, "{} can be read by others; run: chmod 600 {0}", path.display());
    let bytes = read(path, KEY_MAX)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let signer = Signer::parse(text.trim()).with_context(|| format!("{}", path.display()))?;
    let its = signer.verifier().role();
    ensure!(its == role, "{} is the key of a {its}; a {role} is asked for", path.display());
    Ok(signer)
}

/// Puts a file in its place, whole or not at all, and on the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("{}", folder.display()))?;
    part.write_all(bytes).and_then(|()| part.as_file().sync_all())?;
    part.persist(path).with_context(|| format!("{}", path.display()))?;
    File::open(folder)?.sync_all().with_context(|| format!("{}", folder.display()))
}
