//! Intel TDX: genuine quotes at a fixed time, and a laboratory's for what no genuine one shows.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod genuine;
mod judge;
mod lab;
mod levels;
