#![no_main]
// A manifest out of a Dispatch: what passes the check names each object once, by a name that is no path.
use eider_protocol::{Dispatch, Signed, manifest_check};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(dispatch) = Signed::<Dispatch>::parse_body(bytes) else { return };
    if manifest_check(&dispatch.inputs).is_ok() {
        let mut files: Vec<_> = dispatch.inputs.iter().map(|i| &i.file).collect();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), dispatch.inputs.len());
        assert!(files.iter().all(|f| !f.starts_with('/') && !f.split('/').any(|part| part == "..")));
    }
});
