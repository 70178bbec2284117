//! `policies/attest/*.toml`: what evidence must show.

use std::collections::BTreeMap;
use std::time::Duration;

use eider_protocol::{DataClass, Hash};
use serde::Deserialize;

use crate::snp::{PLATFORM, Product};
use crate::tpm2::eventlog::SECURE_BOOT;
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

/// Code that may run, or a boot, as registers that must hold together: values of one image are never mixed with another's.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// For people.
    pub name: String,
    /// Named as in [`Measurement`], `pcr0` to `pcr23` for `tpm2`; hexadecimal, 48 bytes, 32 for `tpm2`.
    pub registers: BTreeMap<String, Value>,
    /// What it is, who built and signed it, from what.
    pub from: String,
}

/// A register's value.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(transparent)]
pub struct Value(#[serde(with = "hex::serde")] pub Vec<u8>);

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

/// Something that evidence names by its bytes, and whose or what it is: a chip, a platform, a signer's key.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Hexadecimal.
    #[serde(with = "hex::serde")]
    pub value: Vec<u8>,
    /// In which data centre it is, or who holds it, and who has said so.
    pub from: String,
}

/// Lowest security version numbers of a product's firmware.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Turin and later alone.
    pub fmc: Option<u8>,
    /// Boot loader of the secure processor.
    pub boot_loader: u8,
    /// Its operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode: the low byte of the patch level, counted for each stepping apart.
    pub microcode: u8,
    /// Which advisories and reports the numbers are from.
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
    /// Images, of which one must hold, beside what `measurements` and `pcrs` say.
    pub images: Vec<Image>,
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
    /// `tpm2`: Secure Boot must have been on, as the event log says of register 7.
    pub secure_boot: bool,
    /// `tpm2`: SHA-256 of certificates (DER), and of what else is measured in their place: all that was started was signed with
    /// these; by anybody, if there is no list.
    pub signers: Option<Vec<Known>>,
    /// `sev-snp`: the processors that are accepted, each from which firmware on. No other is.
    pub products: BTreeMap<Product, Floor>,
    /// `sev-snp`: highest privilege level number that a report may be asked for from.
    pub vmpl: u32,
    /// `sev-snp`: machines that are accepted, by chip id (64 bytes; 8 from Turin on); any, if there is no list.
    pub chips: Option<Vec<Known>>,
    /// `sev-snp`: clouds whose VLEK may sign in place of a chip's own key, as its certificate names them; none unless said. Such
    /// a key is on many machines, and whoever gets it out of one can speak for all.
    pub vlek_providers: Vec<String>,
    /// `sev-snp`: SHA-384 of keys of which one must have signed the guest's identity block; any or none, if there is no list.
    pub id_keys: Option<Vec<Known>>,
    /// `sev-snp`: SHA-384 of keys of which one must have signed the identity key; any or none, if there is no list.
    pub author_keys: Option<Vec<Known>>,
    /// `tdx`: TCB statuses that are accepted.
    pub statuses: Vec<String>,
    /// `tdx`: the least number of Intel's evaluation (`tcbEvaluationDataNumber`) that TCB info and QE identity must be of; any, unless said.
    pub evaluation: Option<u32>,
    /// `tdx`: advisories that are not accepted whatever the status.
    pub deny_advisories: Vec<String>,
    /// `tdx`, `sev-snp`: properties of the machine that are accepted: `smt`; with `tdx`, for servers with several packages,
    /// `dynamic` and `cached-keys` too; with `sev-snp`, `aliases-unchecked`, for firmware that has not searched memory for aliases.
    pub platform: Vec<String>,
    /// `tdx`: machines that are accepted, by PPID (16 bytes, in the certificate of the platform's key); any, if there is no list.
    pub ppids: Option<Vec<Known>>,
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

/// The registers of a kind of evidence, and the bytes of each.
pub(crate) fn registers(kind: EvidenceKind) -> (Vec<String>, usize) {
    let numbered = |name: &str, count: u8| (0..count).map(|n| format!("{name}{n}")).collect::<Vec<_>>();
    match kind {
        EvidenceKind::Tpm2 => (numbered("pcr", 24), 32),
        EvidenceKind::SevSnp => (vec!["measurement".into()], 48),
        EvidenceKind::Tdx => ([vec!["mrtd".into()], numbered("rtmr", 4)].concat(), 48),
        EvidenceKind::Nitro => (numbered("pcr", 32), 48),
        EvidenceKind::Development => (vec![], 0),
    }
}

/// Why an image cannot be meant.
fn not_an_image(kind: EvidenceKind, image: &Image, accept: &Accept) -> Option<String> {
    let (known, bytes) = registers(kind);
    if image.registers.is_empty() {
        return Some("an image without registers is anything".into());
    }
    for (name, value) in &image.registers {
        if !known.contains(name) || value.0.len() != bytes {
            return Some(format!("{kind} has no register {name} of {} bytes", value.0.len()));
        }
        let number = name.strip_prefix("pcr").and_then(|n| n.parse().ok());
        if kind == EvidenceKind::Tpm2 && !number.is_some_and(|n| accept.quoted.contains(&n)) {
            return Some(format!("{name} is not in `quoted`"));
        }
    }
    None
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
        if self.class == DataClass::Sensitive && self.development {
            let why = "sensitive data would go to machines that prove nothing, for anybody can make development evidence: remove \
                       `development`, or say `class = \"internal\"` to try things out";
            return no("development", why);
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
            if let Some(field) = accept.foreign(kind) {
                return Some((section, format!("{kind} has `{field}`, a field that belongs to another kind")));
            }
            if let Some(found) = accept.machines(kind) {
                return Some(found);
            }
            if accept.secure_boot && !accept.quoted.contains(&SECURE_BOOT) {
                return no("secure_boot", "register 7, which is about Secure Boot, is not in `quoted`");
            }
            if accept.signers.is_some() && !accept.secure_boot {
                return no(
                    "signers",
                    "`signers` without `secure_boot = true`: nobody looks at signatures when it is off",
                );
            }
            if accept.any_measurement && !(accept.measurements.is_empty() && accept.images.is_empty()) {
                return no("any_measurement", "it says `any_measurement` and names measurements too");
            }
            for image in &accept.images {
                if let Some(why) = not_an_image(kind, image, accept) {
                    return Some((format!("name = \"{}\"", image.name), why));
                }
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

impl Accept {
    /// A field that means nothing for this kind.
    fn foreign(&self, kind: EvidenceKind) -> Option<&'static str> {
        use EvidenceKind::{Nitro, SevSnp, Tdx, Tpm2};
        let tees = &[SevSnp, Tdx, Nitro][..];
        let fields = [
            ("any_measurement", self.any_measurement, tees),
            ("measurements", !self.measurements.is_empty(), tees),
            ("debug", self.debug, tees),
            ("quoted", !self.quoted.is_empty(), &[Tpm2]),
            ("pcrs", !self.pcrs.is_empty(), &[Tpm2]),
            ("log", self.log, &[Tpm2]),
            ("secure_boot", self.secure_boot, &[Tpm2]),
            ("signers", self.signers.is_some(), &[Tpm2]),
            ("products", !self.products.is_empty(), &[SevSnp]),
            ("vmpl", self.vmpl != 0, &[SevSnp]),
            ("chips", self.chips.is_some(), &[SevSnp]),
            ("vlek_providers", !self.vlek_providers.is_empty(), &[SevSnp]),
            ("id_keys", self.id_keys.is_some(), &[SevSnp]),
            ("author_keys", self.author_keys.is_some(), &[SevSnp]),
            ("platform", !self.platform.is_empty(), &[SevSnp, Tdx]),
            ("statuses", !self.statuses.is_empty(), &[Tdx]),
            ("deny_advisories", !self.deny_advisories.is_empty(), &[Tdx]),
            ("evaluation", self.evaluation.is_some(), &[Tdx]),
            ("ppids", self.ppids.is_some(), &[Tdx]),
        ];
        fields.into_iter().find(|(_, given, kinds)| *given && !kinds.contains(&kind)).map(|(name, ..)| name)
    }

    /// What cannot be meant of processors, machines and signers: how the line begins, and why.
    fn machines(&self, kind: EvidenceKind) -> Option<(String, String)> {
        if kind == EvidenceKind::SevSnp {
            if self.products.is_empty() {
                let why =
                    "sev-snp has no `products`: without the lowest versions of its firmware no processor is accepted";
                return Some(("[sev-snp]".into(), why.into()));
            }
            for (product, floor) in &self.products {
                if floor.fmc.is_some() != product.has_fmc() {
                    let why =
                        if product.has_fmc() { "has an `fmc`, and the floor must say which" } else { "has no `fmc`" };
                    return Some((format!("[sev-snp.products.{product}]"), format!("{product} {why}")));
                }
            }
            if let Some(word) = self.platform.iter().find(|word| !PLATFORM.contains(&word.as_str())) {
                let known = PLATFORM.map(|word| format!("`{word}`")).join(" and ");
                return Some(("platform".into(), format!("sev-snp knows no `{word}`; it knows {known}")));
            }
        }
        let lists = [
            ("chips", &self.chips, &[64, 8][..]),
            ("id_keys", &self.id_keys, &[48]),
            ("author_keys", &self.author_keys, &[48]),
            ("ppids", &self.ppids, &[16]),
            ("signers", &self.signers, &[32]),
        ];
        for (name, list, lengths) in lists {
            let Some(list) = list else { continue };
            if list.is_empty() {
                return Some((
                    name.into(),
                    format!("`{name}` is empty and accepts nobody; without it any is accepted"),
                ));
            }
            let is_one = |v: &[u8]| lengths.contains(&v.len()) && v.iter().any(|byte| *byte != 0);
            if let Some(bad) = list.iter().find(|k| !is_one(&k.value)) {
                let lengths: Vec<_> = lengths.iter().map(|n| (2 * n).to_string()).collect();
                let digits = lengths.join(" or ");
                let why = format!("`{name}` has {}: {digits} hexadecimal digits, not all 0", hex::encode(&bad.value));
                return Some((name.into(), why));
            }
        }
        None
    }
}
