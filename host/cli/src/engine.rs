//! `eider engine`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use eider_node::{Paths, WorkerPolicy};
use eider_sandbox::{CONTRACT, Variant, limits};

use crate::setup;
use crate::words::word;

#[derive(Subcommand)]
pub(crate) enum EngineCommand {
    /// Print what an engine is, what it may touch, and what it offers.
    Inspect {
        /// A component file; the built-in engine unless said.
        file: Option<PathBuf>,
        /// The worker's policy that says what is granted; see policies/worker.toml.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Compile an engine for this machine now, instead of when it is first needed.
    Compile {
        /// A component file; the built-in engine unless said.
        file: Option<PathBuf>,
        /// The image that counts fuel.
        #[arg(long)]
        metered: bool,
    },
}

pub(crate) async fn engine(command: EngineCommand) -> Result<ExitCode> {
    match command {
        EngineCommand::Inspect { file, policy } => inspect(file.as_ref(), policy.as_ref()),
        EngineCommand::Compile { file, metered } => {
            let variant = if metered { Variant::Metered } else { Variant::Plain };
            let image = setup::image(&Paths::from_env()?, &setup::engine(file.as_ref())?, variant).await?;
            println!("{}", image.path().display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn inspect(file: Option<&PathBuf>, policy: Option<&PathBuf>) -> Result<ExitCode> {
    let engine = setup::engine(file)?;
    let (rule, grant) = match policy {
        Some(path) => (format!("`grant` of {}", path.display()), WorkerPolicy::load(path)?.grant),
        None => ("the default `grant` of a worker".into(), WorkerPolicy::default().grant),
    };
    let bytes = engine.bytes().with_context(|| format!("engine {}", engine.name))?;
    let found = eider_sandbox::inspect(&bytes).with_context(|| format!("engine {}", engine.name))?;
    println!("engine   {}", engine.name);
    println!("blake3   {}", found.hash);
    println!("bytes    {} of at most {}", found.bytes, limits::COMPONENT_BYTES);
    println!("inside   {} core modules, {} levels deep of at most {}", found.modules, found.nesting, limits::NESTING);
    for made_by in &found.producers {
        println!("made by  {}", word(made_by));
    }
    for (initial, maximum) in &found.memories {
        let pages = |n: u64| bytesize::ByteSize(n.saturating_mul(65536));
        let maximum = maximum.map_or_else(|| "no maximum of its own".into(), |m| format!("at most {}", pages(m)));
        println!("memory   {}, {maximum}; a job's limit holds below that", pages(*initial));
    }
    for (initial, maximum) in &found.tables {
        let maximum = maximum.map_or_else(|| "no maximum of its own".into(), |m| format!("at most {m}"));
        println!("table    {initial} entries, {maximum}; {} is the limit", limits::TABLE_ENTRIES);
    }
    println!("imports");
    for import in &found.imports {
        let verdict = if grant.contains(&import.name) {
            format!("granted: {rule} names it")
        } else if CONTRACT.contains(&import.name.as_str()) {
            format!("NOT granted: {rule} does not name it")
        } else {
            "NOT granted: no cell has such a thing".into()
        };
        println!("  {} ({}) {verdict}", word(&import.name), import.kind);
    }
    println!("exports");
    for export in &found.exports {
        println!("  {}", word(export));
    }
    match found.refusal(&grant) {
        None => {
            println!("a worker with this policy runs it");
            Ok(ExitCode::SUCCESS)
        }
        Some(reason) => {
            println!("a worker with this policy REFUSES it: {}", word(reason));
            Ok(ExitCode::FAILURE)
        }
    }
}
