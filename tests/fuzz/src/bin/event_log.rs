#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(eider_attest::tpm2::eventlog::replay(bytes)));
