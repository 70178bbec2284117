//! `eider policy`: what evidence a class of data asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use eider_attest::{AttestPolicy, EvidenceKind};
use eider_node::Requirement;
use eider_protocol::DataClass;

/// The policies that ship with the program, by name.
const SHIPPED: [(&str, &str); 4] = [
    ("public", include_str!("../../../policies/attest/public.toml")),
    ("internal", include_str!("../../../policies/attest/internal.toml")),
    ("sensitive", include_str!("../../../policies/attest/sensitive.toml")),
    ("development", include_str!("../../../policies/attest/development.toml")),
];

#[derive(clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read policies and say what is wrong in them, with the line.
    Check {
        /// Files, or names of shipped policies; all shipped ones unless said.
        #[arg(value_name = "POLICY")]
        policies: Vec<String>,
    },
    /// What a policy asks for, in words.
    Show {
        /// A file, or public, internal, sensitive, development.
        #[arg(value_name = "POLICY")]
        policy: String,
    },
    /// What differs between two policies. `eider audit diff` says which verdicts that changes.
    Diff {
        /// The old one.
        #[arg(value_name = "OLD")]
        old: String,
        /// The new one.
        #[arg(value_name = "NEW")]
        new: String,
    },
}

/// The text of a shipped policy or of a file.
fn text(name: &str) -> Result<String> {
    if let Some((_, text)) = SHIPPED.iter().find(|(n, _)| *n == name) {
        return Ok((*text).to_string());
    }
    let path = Path::new(name);
    let size = std::fs::metadata(path).with_context(|| format!("policy {name}"))?.len();
    anyhow::ensure!(size <= AttestPolicy::MAX as u64, "policy {name}: larger than {} bytes", AttestPolicy::MAX);
    std::fs::read_to_string(path).with_context(|| format!("policy {name}"))
}

/// A policy by name or file.
pub(crate) fn load(name: &str) -> Result<Requirement> {
    Requirement::parse(&text(name)?).with_context(|| format!("policy {name}"))
}

/// The policy for a job: the named one, which must be for this class, or the shipped one of the class.
pub(crate) fn for_class(class: DataClass, named: Option<&PathBuf>) -> Result<Requirement> {
    let Some(path) = named else { return load(&class.to_string()) };
    let name = path.to_string_lossy();
    let requirement = load(&name)?;
    let is_for = requirement.policy.class;
    anyhow::ensure!(is_for >= class, "policy {name} is for {is_for} data, the job's is {class}: use --class {is_for}");
    Ok(requirement)
}

pub(crate) fn policy(command: &PolicyCommand) -> Result<ExitCode> {
    match command {
        PolicyCommand::Check { policies } => {
            let shipped: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_string()).collect();
            for name in if policies.is_empty() { &shipped } else { policies } {
                let requirement = load(name)?;
                println!("{name}: good, {}", requirement.policy.hash());
                requirement.policy.lint().iter().for_each(|note| println!("  note: {note}"));
            }
        }
        PolicyCommand::Show { policy } => show(&load(policy)?.policy),
        PolicyCommand::Diff { old, new } => return diff(old, new),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(policy: &AttestPolicy) {
    if policy.development {
        println!("DEVELOPMENT POLICY: evidence made by software counts as if it were hardware");
    }
    println!("{} ({})", policy.name, policy.hash());
    println!("class {}, at least {}", policy.class, policy.minimum);
    match policy.reuse_seconds() {
        0 => println!("evidence is made anew for each job"),
        n => println!("evidence of an earlier job of the same requester is good for {n} s"),
    }
    for kind in EvidenceKind::ALL {
        let Some(accept) = policy.accept(kind) else { continue };
        println!("{kind} proves {}:", kind.tier());
        for root in &accept.roots {
            println!("  root {} {} ({})", root.name, hex::encode(root.sha256), root.from);
        }
        for image in &accept.images {
            println!("  image {} ({})", image.name, image.from);
            for (register, value) in &image.registers {
                println!("    {register} {}", hex::encode(&value.0));
            }
        }
        if kind == EvidenceKind::Tpm2 {
            println!("  registers that must be quoted: {:?}", accept.quoted);
            for pcr in &accept.pcrs {
                println!("  register {} is one of {} ({})", pcr.index, pcr.values.join(", "), pcr.from);
            }
            if accept.secure_boot {
                println!("  Secure Boot must have been on");
            }
            for known in accept.signers.iter().flatten() {
                println!("  signer of what was started {} ({})", hex::encode(&known.value), known.from);
            }
            continue;
        }
        for (product, f) in &accept.products {
            let fmc = f.fmc.map_or_else(String::new, |n| format!("FMC {n}, "));
            println!(
                "  {product} from {fmc}boot loader {}, TEE {}, SNP {}, microcode {} on ({})",
                f.boot_loader, f.tee, f.snp, f.microcode, f.from
            );
        }
        let lists = [
            ("chip", &accept.chips),
            ("identity key", &accept.id_keys),
            ("author key", &accept.author_keys),
            ("PPID", &accept.ppids),
        ];
        for (name, list) in lists {
            for known in list.iter().flatten() {
                println!("  {name} {} ({})", hex::encode(&known.value), known.from);
            }
        }
        for provider in &accept.vlek_providers {
            println!("  also signed with a VLEK of {provider}");
        }
        match accept.measurements.len() + accept.images.len() {
            0 if accept.any_measurement => println!("  ANY code may run"),
            0 => println!("  no code is known, so nobody satisfies it: add `measurements`"),
            _ => {}
        }
        for m in &accept.measurements {
            println!("  {} {} ({})", m.register, hex::encode(&m.value), m.from);
        }
    }
    if EvidenceKind::ALL.iter().all(|k| policy.accept(*k).is_none()) && !policy.development {
        println!("no evidence is looked at");
    }
}

/// Each value by its path, so that comments and order make no difference.
fn flat(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                flat(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, value, into);
            }
        }
        // Entries of a list are told apart by what they hold, not by their place.
        toml::Value::Array(all) => {
            for value in all {
                into.insert(format!("{prefix} has {value}"), String::new());
            }
        }
        value => {
            into.insert(prefix.into(), value.to_string());
        }
    }
}

fn diff(old: &str, new: &str) -> Result<ExitCode> {
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    for (name, side) in [old, new].into_iter().zip(&mut sides) {
        load(name)?;
        flat("", &toml::Value::Table(text(name)?.parse().with_context(|| format!("policy {name}"))?), side);
    }
    let [before, after] = sides;
    let line = |sign: char, key: &str, value: &str| {
        println!("{sign} {key}{}{value}", if value.is_empty() { "" } else { " = " });
    };
    for (key, value) in before.iter().filter(|(k, v)| after.get(*k) != Some(v)) {
        line('-', key, value);
    }
    for (key, value) in after.iter().filter(|(k, v)| before.get(*k) != Some(v)) {
        line('+', key, value);
    }
    Ok(if before == after { ExitCode::SUCCESS } else { ExitCode::from(crate::audit::DIFFERS) })
}
