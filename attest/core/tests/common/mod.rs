//! Genuine vendor evidence, which is not part of this repository.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use eider_attest::{Code, Findings, Reason, Root};

/// The folder of genuine vectors; without it, a test says that it was skipped.
pub(crate) fn vectors(kind: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/attest-vectors").join(kind);
    if !folder.is_dir() {
        println!("SKIPPED: no genuine vectors at ../shared/attest-vectors/{kind}");
        return None;
    }
    Some(folder)
}

/// A file of that folder.
pub(crate) fn file(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// DER of every certificate in a PEM file.
pub(crate) fn pem(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8(file(folder, name)).unwrap();
    let mut all = vec![];
    for block in text.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let body = block.split("-----END").next().unwrap();
        all.push(base64(body));
    }
    all
}

/// RFC 4648, whitespace ignored.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut out) = (0_u32, 0, vec![]);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

/// A pinned root.
pub(crate) fn root(der: &[u8]) -> Root {
    Root { name: "root".into(), sha256: sha256(der), from: "the vectors".into() }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// All codes, sorted, each once: those in the findings and the one that was returned.
pub(crate) fn codes(verdict: &Result<(), Reason>, findings: &Findings) -> Vec<Code> {
    let mut codes: Vec<Code> = findings.reasons.iter().map(|r| r.code).collect();
    codes.extend(verdict.as_ref().err().map(|r| r.code));
    codes.sort_unstable();
    codes.dedup();
    codes
}
