#![no_main]
// A policy: refused, or one that asks for what it says.
use eider_attest::{AttestPolicy, Tier};
use eider_protocol::DataClass;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = AttestPolicy::parse(bytes) {
        assert!(policy.class != DataClass::Sensitive || policy.minimum == Tier::L2 && !policy.development);
    }
});
