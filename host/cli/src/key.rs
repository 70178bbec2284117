//! `eider key`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use eider_node::{Paths, load_key, new_key};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make this node's key, if it has none.
    New,
    /// Print this node's id.
    Show,
}

pub(crate) fn key(command: &KeyCommand) -> Result<ExitCode> {
    let path = Paths::from_env()?.key();
    match command {
        KeyCommand::New => {
            let identity = new_key(&path)?;
            eprintln!("wrote {}", path.display());
            println!("{}", identity.node_id());
        }
        KeyCommand::Show => println!("{}", load_key(&path)?.node_id()),
    }
    Ok(ExitCode::SUCCESS)
}
