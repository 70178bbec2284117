//! Every behaviour of `tests/strangers`, beside honest neighbours who must see nothing of it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

include!(concat!(env!("OUT_DIR"), "/strangers.rs"));

/// One after the other, then all at once: for ten minutes.
#[test]
#[ignore = "ten minutes: make neighbours"]
fn honest_jobs_go_on_beside_all_strangers() {
    let seconds = std::env::var("EIDER_NEIGHBOURS_SECONDS").map_or(600, |s| s.parse().unwrap());
    eider_tests::strangers::neighbours(ASKS, ANSWERS, seconds).unwrap();
}

#[test]
fn there_are_at_least_sixty_behaviours() {
    assert!(ASKS.len() + ANSWERS.len() >= 60, "{} and {}", ASKS.len(), ANSWERS.len());
}
