//! Every behaviour of `tests/strangers`, beside honest neighbours who must see nothing of it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

include!(concat!(env!("OUT_DIR"), "/strangers.rs"));

/// One after the other, then all at once: for half a minute, or for ten with `make neighbours`.
#[test]
fn honest_jobs_go_on_beside_all_strangers() {
    let seconds = std::env::var("EIDER_NEIGHBOURS_SECONDS").map_or(30, |s| s.parse().unwrap());
    eider_tests::strangers::neighbours(ASKS, ANSWERS, seconds).unwrap();
}

#[test]
fn there_are_at_least_sixty_behaviours() {
    assert!(ASKS.len() + ANSWERS.len() >= 60, "{} and {}", ASKS.len(), ANSWERS.len());
}
