//! What this machine has to make evidence with.

use std::fmt;
use std::fs::OpenOptions;
use std::path::Path;

use eider_attest::EvidenceKind;

use crate::{TPM_DEVICE, nsm, tsm};

/// Something that may make evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Of which kind; `None` if the kernel says that only in a report.
    pub kind: Option<EvidenceKind>,
    /// Where it is.
    pub path: &'static str,
    /// Why this process cannot use it, if so.
    pub trouble: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or("sev-snp or tdx", EvidenceKind::word);
        write!(f, "{kind} at {}", self.path)?;
        self.trouble.as_ref().map_or(Ok(()), |trouble| write!(f, ": {trouble}"))
    }
}

/// Lists what is there, without asking it for anything. No tier follows from this.
pub fn probe() -> Vec<Source> {
    let known = [
        (Some(EvidenceKind::Nitro), nsm::DEVICE, None),
        (None, tsm::ROOT, None),
        (
            Some(EvidenceKind::SevSnp),
            "/dev/sev-guest",
            Some("reports are asked for by way of configfs (Linux 6.7) alone"),
        ),
        (Some(EvidenceKind::Tpm2), TPM_DEVICE, None),
    ];
    let there = known.into_iter().filter(|(_, path, _)| Path::new(path).exists());
    there
        .map(|(kind, path, trouble)| Source {
            kind,
            path,
            trouble: trouble.map_or_else(|| of(path), |t| Some(t.into())),
        })
        .collect()
}

/// Why a file cannot be opened.
fn of(path: &str) -> Option<String> {
    let path = Path::new(path);
    if path.is_dir() {
        return None;
    }
    OpenOptions::new().read(true).write(true).open(path).err().map(|e| format!("it cannot be opened: {e}"))
}
