//! `eider cell`: one job's process.

use std::path::PathBuf;
use std::process::ExitCode;

use eider_sandbox::Variant;

#[derive(clap::Args)]
pub(crate) struct CellArgs {
    /// How the image was compiled.
    #[arg(long)]
    variant: Variant,
    /// The compiled image.
    image: PathBuf,
}

pub(crate) fn cell(args: &CellArgs) -> ExitCode {
    match eider_sandbox::run_cell(&args.image, args.variant) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
