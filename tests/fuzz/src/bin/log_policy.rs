#![no_main]
// tlog-policy: refused with a line of it, or a policy.
use eider_engines::LogPolicy;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match text.parse::<LogPolicy>() {
        Ok(policy) => drop(policy.needs_nobody()),
        Err(e) => assert!(e.line <= text.lines().count() + 1, "{e}"),
    }
});
