//! `eider-guest`: the worker and its cells, and nothing else, for the image of a confidential guest (guest/image).
//!
//! It is a program of its own so that what is measured is small, and so that it does not contain the shipped policies: one of
//! them names the measurement of the image that this program is in.

mod cell;
#[expect(dead_code, reason = "what commands of the whole program need is there too")]
mod setup;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use eider_node::Paths;
use eider_sandbox::Variant;
use tracing_subscriber::EnvFilter;

/// A worker in a confidential guest.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run jobs for others, in sandboxes.
    Worker(worker::WorkerArgs),
    /// Compile the engine, where the image is built.
    Compile,
    /// One job's process; started by the worker.
    #[command(hide = true)]
    Cell(cell::CellArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    // No tracing filter from outside: what is said on a console that the host reads is part of what was measured.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn"))
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    // A cell has no use for an async runtime, nor for its threads.
    if let Command::Cell(args) = args.command {
        return cell::cell(args);
    }
    run(args.command).unwrap_or_else(|e| {
        eprintln!("eider-guest: {e:#}");
        ExitCode::from(2)
    })
}

fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Worker(args) => worker::worker(args).await,
            Command::Compile => {
                setup::image(&Paths::from_env()?, &setup::engine(None)?.0, Variant::Plain).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Cell(_) => Ok(ExitCode::FAILURE),
        }
    });
    runtime.shutdown_background();
    done
}
