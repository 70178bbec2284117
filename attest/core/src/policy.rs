//! `policies/attest/*.toml`: what evidence must show.

use std::time::Duration;

use eider_protocol::{DataClass, Hash};
use serde::Deserialize;

use crate::{EvidenceKind, Tier};

/// A certificate that chains may end in.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Whose.
    pub name: String,
    /// SHA-256 of its DER, hexadecimal.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
    /// Where the hash was taken from.
    pub from: String,
}

/// Code that may run.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Which register: `measurement` (SNP), `mrtd` and `rtmr0` to `rtmr3` (TDX), `pcr0` … (Nitro). Values with the same
    /// register are alternatives.
    pub register: String,
    /// Hexadecimal.
    #[serde(with = "hex::serde")]
    pub value: Vec<u8>,
    /// What it is, who built and signed it, from what.
    pub from: String,
}

/// Values that a TPM's register may have.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Pcr {
    /// Which, 0 to 23, in the SHA-256 bank.
    pub index: u8,
    /// Hexadecimal, alternatives.
    pub values: Vec<String>,
    /// Which machine and boot they are of, and who has read them there.
    pub from: String,
}

/// What evidence of one kind must show. Fields that are of another kind must not be given.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Accept {
    /// Roots of certificate chains.
    pub roots: Vec<Root>,
    /// Reference values of code; without any, no code is accepted, unless `any_measurement`.
    pub measurements: Vec<Measurement>,
    /// Accept whatever code runs: the tier then says that a TEE runs something.
    pub any_measurement: bool,
    /// Accept guests that can be inspected from outside.
    pub debug: bool,
    /// Collateral (revocation lists) must be stapled; TDX has it always.
    pub revocation: bool,
    /// `tpm2`: registers that must be quoted, SHA-256 bank.
    pub quoted: Vec<u8>,
    /// `tpm2`: reference values.
    pub pcrs: Vec<Pcr>,
    /// `tpm2`: an event log that leads to the quoted registers must come along.
    pub log: bool,
    /// `sev-snp`: lowest security version numbers: boot loader, TEE, SNP, microcode.
    pub tcb: [u8; 4],
    /// `sev-snp`: highest privilege level number that a report may be asked for from.
    pub vmpl: u32,
    /// `tdx`: TCB statuses that are accepted.
    pub statuses: Vec<String>,
    /// `tdx`: advisories that are not accepted whatever the status.
    pub deny_advisories: Vec<String>,
    /// `tdx`: properties of multi-package servers that are accepted: `dynamic`, `cached-keys`, `smt`.
    pub platform: Vec<String>,
}

/// A policy, with the hash that names it.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct AttestPolicy {
    /// For people.
    pub name: String,
    /// The class of data that it is for.
    pub class: DataClass,
    /// The lowest tier that may see such data.
    pub minimum: Tier,
    /// Development evidence counts. Such a policy is labelled wherever it shows.
    #[serde(default)]
    pub development: bool,
    /// Evidence that was made for an earlier offer of the same requester may be used again for this long; never unless said.
    #[serde(default, with = "humantime_serde")]
    pub reuse: Duration,
    /// TPM 2.0.
    pub tpm2: Option<Accept>,
    /// AMD SEV-SNP.
    #[serde(rename = "sev-snp")]
    pub sev_snp: Option<Accept>,
    /// Intel TDX.
    pub tdx: Option<Accept>,
    /// AWS Nitro.
    pub nitro: Option<Accept>,
    #[serde(skip, default = "no_hash")]
    hash: Hash,
}

fn no_hash() -> Hash {
    Hash::from_bytes([0; 32])
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum AttestPolicyError {
    /// Not UTF-8, or over the limit.
    #[error("the policy is not text, or has more than {max} bytes", max = AttestPolicy::MAX)]
    NotText,
    /// With line and column.
    #[error("{0}")]
    Parse(#[from] Box<toml::de::Error>),
    /// What cannot be meant, with its line.
    #[error("line {line}: {why}")]
    Contradiction {
        /// Where.
        line: usize,
        /// Why.
        why: String,
    },
}

impl AttestPolicy {
    /// Bytes of the largest policy.
    pub const MAX: usize = 1 << 20;

    /// Reads a policy's bytes; its hash is BLAKE3 of them.
    ///
    /// # Errors
    /// [`AttestPolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestPolicyError> {
        let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= Self::MAX);
        let text = text.ok_or(AttestPolicyError::NotText)?;
        let mut policy: Self = toml::from_str(text).map_err(Box::new)?;
        policy.hash = blake3::hash(bytes).into();
        match policy.contradiction() {
            None => Ok(policy),
            Some((needle, why)) => {
                let line = text.lines().position(|l| l.trim_start().starts_with(&needle)).map_or(1, |n| n + 1);
                Err(AttestPolicyError::Contradiction { line, why })
            }
        }
    }

    /// BLAKE3 of the file.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// What is wanted of a kind; `None` if it is not accepted.
    pub fn accept(&self, kind: EvidenceKind) -> Option<&Accept> {
        match kind {
            EvidenceKind::Tpm2 => self.tpm2.as_ref(),
            EvidenceKind::SevSnp => self.sev_snp.as_ref(),
            EvidenceKind::Tdx => self.tdx.as_ref(),
            EvidenceKind::Nitro => self.nitro.as_ref(),
            EvidenceKind::Development => None,
        }
    }

    /// For how long evidence may be used again, seconds.
    pub fn reuse_seconds(&self) -> i64 {
        i64::try_from(self.reuse.as_secs()).unwrap_or(i64::MAX)
    }

    /// What cannot be meant: how the line begins, and why.
    fn contradiction(&self) -> Option<(String, String)> {
        let no = |needle: &str, why: &str| Some((needle.to_string(), why.to_string()));
        if self.class == DataClass::Sensitive && self.minimum < Tier::L2 {
            return no("minimum", "sensitive data is for L2 alone; no policy lowers that");
        }
        let kinds: Vec<_> = EvidenceKind::ALL.into_iter().filter(|k| self.accept(*k).is_some()).collect();
        if !self.development && self.minimum > Tier::L0 && !kinds.iter().any(|k| k.tier() >= self.minimum) {
            return no("minimum", "no kind of evidence in this policy can prove that tier");
        }
        for kind in kinds {
            let section = format!("[{kind}]");
            let Some(accept) = self.accept(kind) else { continue };
            if accept.roots.is_empty() {
                return Some((
                    section,
                    format!("{kind} has no `roots`: evidence without a pinned root proves nothing"),
                ));
            }
            let default = Accept::default();
            let foreign = match kind {
                EvidenceKind::Tpm2 => accept.any_measurement || !accept.measurements.is_empty() || accept.debug,
                _ => accept.log || accept.quoted != default.quoted || accept.pcrs != default.pcrs,
            } || (kind != EvidenceKind::SevSnp
                && (accept.tcb != default.tcb || accept.vmpl != default.vmpl))
                || (kind != EvidenceKind::Tdx
                    && !(accept.statuses.is_empty()
                        && accept.deny_advisories.is_empty()
                        && accept.platform.is_empty()));
            if foreign {
                return Some((section, format!("{kind} has a field that belongs to another kind")));
            }
            if accept.any_measurement && !accept.measurements.is_empty() {
                return no("any_measurement", "it says `any_measurement` and names measurements too");
            }
            for pcr in &accept.pcrs {
                let bad = |v: &String| hex::decode(v).map_or(true, |v| v.len() != 32);
                if pcr.index > 23 || pcr.values.is_empty() || pcr.values.iter().any(bad) {
                    return no("index", "a register is 0 to 23, with at least one value of 64 hexadecimal digits");
                }
                if !accept.quoted.contains(&pcr.index) {
                    return Some((
                        "quoted".into(),
                        format!("register {} has values and is not in `quoted`", pcr.index),
                    ));
                }
            }
        }
        None
    }
}
