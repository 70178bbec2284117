#![no_main]
// Which builds are taken: a policy that reads as one names bytes or publishers in each rule, and admits nothing of which nothing is known.
use eider_engines::{Candidate, EnginePolicy};
use eider_protocol::Hash;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(policy) = EnginePolicy::parse(text) else { return };
    let build = |n| Candidate::of_bytes(Hash::from_bytes([n; 32]));
    // A rule may name one of these, by chance; hardly both.
    assert!(policy.judge(&build(0xa5)).admitted().is_none() || policy.judge(&build(0x5a)).admitted().is_none());
});
