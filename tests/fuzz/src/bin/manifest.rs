#![no_main]
// A manifest out of a task: what passes the check names each object once, by a name that is no path.
use eider_protocol::{Task, manifest_check};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(task) = Task::parse(bytes) else { return };
    if manifest_check(&task.inputs).is_ok() {
        let mut files: Vec<_> = task.inputs.iter().map(|i| &i.file).collect();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), task.inputs.len());
        assert!(files.iter().all(|f| !f.starts_with('/') && !f.split('/').any(|part| part == "..")));
    }
});
