//! `eider cell`: one job's process, or one compilation's.

use std::process::ExitCode;

use eider_sandbox::{CellOptions, limits};

#[derive(clap::Args)]
pub(crate) struct CellArgs {
    /// As `CellOptions` reads them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn cell(args: CellArgs) -> ExitCode {
    let run = |options| eider_sandbox::run_cell(&options).map_err(|e| e.to_string());
    match CellOptions::from_args(args.args).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(said) => {
            // The parent reads no more, and would wait for ever for a cell that waits for it to read.
            eprintln!("{}", &said[..said.floor_char_boundary(limits::LOG_BYTES as usize)]);
            ExitCode::FAILURE
        }
    }
}
