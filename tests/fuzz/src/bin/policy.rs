#![no_main]
// A worker's policy: refused, or a donation of possible numbers.
use eider_node::WorkerPolicy;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(donation) = WorkerPolicy::parse(text).map_err(|_| ()).and_then(|p| p.donation().map_err(|_| ())) {
        assert!(donation.jobs > 0 && donation.memory >= 256 << 20 && !donation.classes.is_empty());
    }
});
