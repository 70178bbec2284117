//! Every program of `guest/programs` in a cell: each ends as its first lines say, whatever it tries, and the next job in
//! a fresh cell is unharmed. The build makes one test for each file.
#![allow(clippy::unwrap_used)]

#[path = "programs/checks.rs"]
mod checks;
#[path = "programs/lab.rs"]
mod lab;
#[path = "programs/run.rs"]
mod run;

include!(concat!(env!("OUT_DIR"), "/programs.rs"));
