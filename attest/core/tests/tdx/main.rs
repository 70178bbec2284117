//! Intel TDX: genuine quotes at a fixed time, and a laboratory's for what no genuine one shows.
#![allow(clippy::unwrap_used, missing_docs)]

mod damage;
mod genuine;
mod judge;
mod lab;
mod levels;
