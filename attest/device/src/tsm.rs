//! Reports of SEV-SNP and TDX by way of the kernel's configfs (`Documentation/ABI/testing/configfs-tsm-report`, Linux 6.7).
//!
//! NEVER RUN ON ITS HARDWARE: no machine with SEV-SNP or TDX was at hand. It follows the kernel's documentation, and its
//! tests go no further than a machine that has none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use eider_attest::EvidenceKind;

/// Where the kernel shows it.
pub const ROOT: &str = "/sys/kernel/config/tsm/report";
/// Bytes of the largest report and of its certificates.
const BLOB_MAX: u64 = 64 << 10;

/// What the kernel handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// By the kernel's word for its provider.
    pub kind: EvidenceKind,
    /// The signed report or quote, for [`eider_attest::Envelope::evidence`].
    pub evidence: Vec<u8>,
    /// For SEV-SNP the host's table of certificates ([`crate::certificates`]), if it gave one; empty otherwise.
    pub auxiliary: Vec<u8>,
}

/// Cause and fix.
#[derive(Debug, thiserror::Error)]
pub enum TsmError {
    /// A file of the kernel.
    #[error("{path}: {source}; {}", hint(source))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A provider that is not known.
    #[error("the kernel's report is from {0:?}; only `sev_guest` and `tdx_guest` are understood")]
    Provider(String),
    /// Another process wrote to the same entry.
    #[error("the report was asked for by somebody else in between; try again")]
    Generation,
    /// Larger than any report.
    #[error("{0} has more than {BLOB_MAX} bytes; a fault of the kernel or of its provider")]
    TooLarge(PathBuf),
    /// The host's table of certificates is none.
    #[error("the host's table of certificates is malformed: {0}; a fault of the host, whose operator can set it right")]
    Certificates(&'static str),
    /// The system has no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "this is no guest of SEV-SNP or TDX, or its kernel is older than 6.7, or configfs is not mounted"
        }
        io::ErrorKind::PermissionDenied => "reports are for root: give the process access to that folder",
        _ => "see the kernel's log",
    }
}

/// An entry that is removed again.
struct Entry(PathBuf);

impl Drop for Entry {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Asks for a report over 64 bytes, which are [`eider_attest::Binding::digest`].
///
/// # Errors
/// [`TsmError`].
pub fn report(root: &Path, data: &[u8; 64]) -> Result<Report, TsmError> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(|e| TsmError::Random(e.to_string()))?;
    let path = root.join(format!("eider-{}", hex::encode(name)));
    fs::create_dir(&path).map_err(|source| TsmError::File { path: path.clone(), source })?;
    let entry = Entry(path);
    let provider = text(&entry.0.join("provider"))?;
    let kind = match provider.as_str() {
        "sev_guest" => EvidenceKind::SevSnp,
        "tdx_guest" => EvidenceKind::Tdx,
        _ => return Err(TsmError::Provider(provider.chars().take(40).collect())),
    };
    let inblob = entry.0.join("inblob");
    fs::write(&inblob, data).map_err(|source| TsmError::File { path: inblob, source })?;
    let before = text(&entry.0.join("generation"))?;
    let evidence = blob(&entry.0.join("outblob"))?;
    let auxiliary = match blob(&entry.0.join("auxblob")) {
        Err(TsmError::File { .. }) => vec![],
        auxiliary => auxiliary?,
    };
    // The generation counts writes: another one in between means that the report is not over these bytes.
    if text(&entry.0.join("generation"))? != before {
        return Err(TsmError::Generation);
    }
    Ok(Report { kind, evidence, auxiliary })
}

fn blob(path: &Path) -> Result<Vec<u8>, TsmError> {
    use std::io::Read;
    let failed = |source| TsmError::File { path: path.into(), source };
    let mut bytes = vec![];
    fs::File::open(path).map_err(failed)?.take(BLOB_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BLOB_MAX {
        return Err(TsmError::TooLarge(path.into()));
    }
    Ok(bytes)
}

fn text(path: &Path) -> Result<String, TsmError> {
    Ok(String::from_utf8_lossy(&blob(path)?).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_it_is_told_so() {
        let error = report(Path::new("/nonexistent/tsm"), &[0; 64]).expect_err("there is none");
        assert!(error.to_string().contains("no guest of SEV-SNP or TDX"), "{error}");
    }
}
