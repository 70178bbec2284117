#![no_main]
// A stranger's archive of a job.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(archive) = eider_node::audit::open(bytes) {
        let _ = archive.stands(0);
    }
});
