//! `eider engine`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use eider_node::Paths;
use eider_sandbox::Variant;

use crate::setup;

#[derive(Subcommand)]
pub(crate) enum EngineCommand {
    /// Print what an engine is, what it may touch, and what it offers.
    Inspect {
        /// A component file; the built-in engine unless said.
        file: Option<PathBuf>,
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
        EngineCommand::Inspect { file } => inspect(file.as_ref()),
        EngineCommand::Compile { file, metered } => {
            let variant = if metered { Variant::Metered } else { Variant::Plain };
            let image = setup::image(&Paths::from_env()?, &setup::engine(file.as_ref())?, variant).await?;
            println!("{}", image.path().display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn inspect(file: Option<&PathBuf>) -> Result<ExitCode> {
    let engine = setup::engine(file)?;
    let bytes = engine.bytes().with_context(|| format!("engine {}", engine.name))?;
    let found = eider_sandbox::inspect(&bytes).with_context(|| format!("engine {}", engine.name))?;
    println!("engine   {}", engine.name);
    println!("blake3   {}", found.hash);
    println!("bytes    {}", found.bytes);
    for (initial, maximum) in &found.memories {
        let pages = |n: u64| bytesize::ByteSize(n * 65536);
        let maximum = maximum.map_or_else(|| "no maximum of its own".into(), |m| format!("at most {}", pages(m)));
        println!("memory   {}, {maximum}; a job's limit holds below that", pages(*initial));
    }
    println!("imports");
    for import in &found.imports {
        let granted =
            if import.granted { "granted: of the engine contract" } else { "NOT granted: a cell has no such thing" };
        println!("  {} ({}) {granted}", import.name, import.kind);
    }
    println!("exports");
    for export in &found.exports {
        println!("  {export}");
    }
    Ok(if found.imports.iter().all(|i| i.granted) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
