#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eider_sandbox::fuzz::host_calls(bytes));
