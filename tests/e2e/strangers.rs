//! Every behaviour of `tests/strangers`, beside honest neighbours who must see nothing of it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

include!(concat!(env!("OUT_DIR"), "/strangers.rs"));
