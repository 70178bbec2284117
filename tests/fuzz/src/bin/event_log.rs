#![no_main]
use eider_attest::tpm2::{eventlog, secureboot};
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(
    eventlog::replay(bytes).map(|replay| secureboot::read(&replay.secure_boot))
));
