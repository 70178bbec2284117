#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eider_fuzz::evidence(eider_attest::EvidenceKind::Tpm2, bytes));
