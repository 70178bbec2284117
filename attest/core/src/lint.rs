//! What a policy leaves open, for whoever wrote it: nothing here changes a verdict.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::registers;
use crate::snp::ALIASES_UNCHECKED;
use crate::tpm2::eventlog::SECURE_BOOT;
use crate::{Accept, AttestPolicy, EvidenceKind, Tier};

/// Registers of a PC's TPM that any software can reset.
const RESETTABLE: [u8; 2] = [16, 23];
/// Registers that hold what boots on a PC: firmware, boot loader, Secure Boot's keys, and what GRUB and kernels add.
const BOOT: [u8; 8] = [0, 2, 4, 7, 8, 9, 11, 12];
/// Intel's registers for what firmware measures: its settings and tables, then boot loader and kernel, then command line
/// and initial file system.
const RTMRS: [&str; 3] = ["rtmr0", "rtmr1", "rtmr2"];

impl AttestPolicy {
    /// Sentences on what this policy pins too little, each beginning with its section. Empty if nothing was found.
    pub fn lint(&self) -> Vec<String> {
        let mut notes = vec![];
        if self.development {
            notes.push("evidence that software has made counts (`development`)".to_string());
        }
        if self.minimum == Tier::L0 {
            return notes;
        }
        for kind in EvidenceKind::ALL {
            let Some(accept) = self.accept(kind) else { continue };
            let mut found = vec![];
            match kind {
                EvidenceKind::Tpm2 => boots(accept, &mut found),
                _ => code(kind, accept, &mut found),
            }
            notes.extend(found.into_iter().map(|note| format!("{kind}: {note}")));
        }
        notes
    }
}

fn boots(accept: &Accept, notes: &mut Vec<String>) {
    let by_image = accept.images.iter().flat_map(|i| i.registers.keys());
    let by_image = by_image.filter_map(|name| name.strip_prefix("pcr")?.parse().ok());
    let pinned: BTreeSet<u8> = accept.pcrs.iter().map(|p| p.index).chain(by_image).collect();
    if accept.secure_boot && accept.signers.is_none() {
        notes.push(
            "`secure_boot` without `signers`: a machine's owner can have firmware trust a key of their own".into(),
        );
    }
    if pinned.is_empty() && accept.signers.is_some() {
        let note = "no register has a value: all that `signers` have signed is accepted, in any version, with any command line and \
                    initial file system";
        return notes.push(note.into());
    }
    if pinned.is_empty() {
        return notes.push("no register has a value: any boot is accepted, and only shown in the record".into());
    }
    let soft: Vec<_> = pinned.iter().filter(|n| RESETTABLE.contains(n)).collect();
    if !soft.is_empty() {
        notes.push(format!("any software can reset register {soft:?}: its value says nothing of the boot"));
    }
    let is_open =
        |n: &u8| accept.quoted.contains(n) && !pinned.contains(n) && (*n != SECURE_BOOT || accept.signers.is_none());
    let open: Vec<_> = BOOT.into_iter().filter(is_open).collect();
    if !open.is_empty() {
        notes.push(format!("registers {open:?} are quoted and have no value: what they measure may be anything"));
    }
    let mut values: BTreeMap<u8, usize> = BTreeMap::new();
    for pcr in &accept.pcrs {
        *values.entry(pcr.index).or_default() += pcr.values.len();
    }
    mixed(values.values().copied(), "pcrs", notes);
}

fn code(kind: EvidenceKind, accept: &Accept, notes: &mut Vec<String>) {
    if kind == EvidenceKind::Tdx && accept.evaluation.unwrap_or(0) == 0 {
        notes.push("no `evaluation`: `UpToDate` is as of an evaluation of Intel's that the worker chooses".into());
    }
    if accept.debug {
        notes.push("guests that can be inspected from outside are accepted (`debug`)".into());
    }
    if kind == EvidenceKind::SevSnp && accept.platform.iter().any(|word| word == ALIASES_UNCHECKED) {
        notes.push(format!(
            "machines whose memory was not searched for aliases are accepted (`{ALIASES_UNCHECKED}`): BadRAM is open on them"
        ));
    }
    if accept.any_measurement {
        return notes.push("any code is accepted (`any_measurement`): its owner may read the data".into());
    }
    if accept.measurements.is_empty() && accept.images.is_empty() {
        return notes.push("no code has a reference value, so nobody is accepted".into());
    }
    let (known, bytes) = registers(kind);
    for m in accept.measurements.iter().filter(|m| !known.contains(&m.register) || m.value.len() != bytes) {
        notes.push(format!("`{}` with {} bytes can never hold", m.register, m.value.len()));
    }
    let listed: BTreeSet<&str> = accept.measurements.iter().map(|m| m.register.as_str()).collect();
    let of_images = accept.images.iter().map(|image| image.registers.keys().map(String::as_str));
    let mut sets: Vec<BTreeSet<&str>> = of_images.map(|names| names.chain(listed.iter().copied()).collect()).collect();
    if sets.is_empty() {
        sets.push(listed.clone());
    }
    for pinned in sets {
        if let (EvidenceKind::Tdx, true) = (kind, !pinned.contains("mrtd")) {
            notes.push("`mrtd` is not pinned: the guest's firmware may be anything, and measure what it likes".into());
        }
        let open: Vec<_> = RTMRS.into_iter().filter(|r| kind == EvidenceKind::Tdx && !pinned.contains(r)).collect();
        if !open.is_empty() {
            notes.push(format!("{} not pinned: kernel, command line or file system may be anything", open.join(", ")));
        }
        if kind == EvidenceKind::Nitro
            && !pinned.contains("pcr0")
            && !["pcr1", "pcr2"].iter().all(|r| pinned.contains(r))
        {
            notes.push(
                "neither `pcr0` nor both `pcr1` and `pcr2` are pinned: parts of the image may be anything".into(),
            );
        }
    }
    let zero = |value: &[u8]| value.iter().all(|byte| *byte == 0);
    if kind == EvidenceKind::Nitro && accept.measurements.iter().any(|m| m.register == "pcr0" && zero(&m.value)) {
        notes.push("`pcr0` of zeros is that of every enclave in debug mode".into());
    }
    let counts = listed.iter().map(|name| accept.measurements.iter().filter(|m| m.register == *name).count());
    mixed(counts, "measurements", notes);
}

/// Several values of several registers, which may be mixed.
fn mixed(counts: impl Iterator<Item = usize>, field: &str, notes: &mut Vec<String>) {
    let several: Vec<usize> = counts.filter(|count| *count > 1).collect();
    if several.len() > 1 {
        let mixes = several.iter().fold(1_usize, |all, count| all.saturating_mul(*count));
        notes.push(format!(
            "`{field}` accept {mixes} mixtures of values that may never have been together: use `images`"
        ));
    }
}
