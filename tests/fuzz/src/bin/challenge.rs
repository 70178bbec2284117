#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eider_fuzz::signed::<eider_protocol::Challenge>(bytes));
