#![no_main]
// Signed notes, checkpoints and proofs: what reads as one is written as it was.
use eider_engines::{Checkpoint, Entry, Note, Proof};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
    if let Ok(checkpoint) = Checkpoint::parse(bytes) {
        let again = Checkpoint::parse(checkpoint.note().to_string().as_bytes()).expect("what was read is read again");
        assert_eq!((again.size(), again.root(), again.origin()), (checkpoint.size(), checkpoint.root(), checkpoint.origin()));
    }
    if let Ok(proof) = Proof::parse(bytes) {
        assert!(Proof::parse(proof.to_string().as_bytes()).is_ok_and(|again| again.index == proof.index));
        let _ = proof.check(b"an entry");
    }
    if let Ok((entry, _)) = Entry::read(bytes) {
        let _ = entry.about();
    }
});
