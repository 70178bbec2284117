#![no_main]
// A stranger's engine, as it is looked at before it is compiled.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = eider_sandbox::inspect(bytes) {
        assert_eq!(found.bytes, bytes.len());
        let _ = found.refusal(&eider_sandbox::CONTRACT);
    }
});
