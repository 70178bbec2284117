//! `eider cell`: one job's process, or one compilation's.

use std::process::ExitCode;

use eider_sandbox::{CellOptions, CellTask, Variant, Wall, limits};

#[derive(clap::Args)]
pub(crate) struct CellArgs {
    /// Run a job on an image compiled so.
    #[arg(long)]
    run: Option<Variant>,
    /// Compile a component.
    #[arg(long)]
    compile: Option<Variant>,
    /// Say which walls stand.
    #[arg(long)]
    probe: bool,
    /// Linear memory that a job may have, bytes.
    #[arg(long)]
    memory: u64,
    /// Run at the lowest priority.
    #[arg(long)]
    idle: bool,
    /// A wall that must stand.
    #[arg(long)]
    require: Vec<Wall>,
}

pub(crate) fn cell(args: CellArgs) -> ExitCode {
    let task = match (args.run, args.compile) {
        (Some(variant), _) => CellTask::Run(variant),
        (None, Some(variant)) => CellTask::Compile(variant),
        (None, None) => CellTask::Probe,
    };
    let options = CellOptions { task, memory: args.memory, idle: args.idle, require: args.require };
    match eider_sandbox::run_cell(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // The parent reads no more, and would wait for ever for a cell that waits for it to read.
            let said = e.to_string();
            eprintln!("{}", &said[..said.floor_char_boundary(limits::LOG_BYTES as usize)]);
            ExitCode::FAILURE
        }
    }
}
