//! A cell without its second wall, which emulators of processors do not have; it also compiles for processors that workers'
//! compilers leave out. `make determinism` alone runs it, on this repository's own engine.

use std::process::ExitCode;

use eider_sandbox::{CellOptions, Wall, run_cell_opened};

fn main() -> ExitCode {
    let run = CellOptions::from_args(std::env::args().skip(2))
        .and_then(|options| run_cell_opened(&options, &Wall::ALL, |_| Ok(())).map_err(|e| e.to_string()));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
