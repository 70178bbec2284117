//! Second opinions: trees, proofs and notes as other people's programs read them.
#![allow(clippy::unwrap_used, missing_docs)]

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use eider_engines::{Checkpoint, Log, Role, Signer, TreeHash};
use sha2::Sha256;
use signed_note::{StandardVerifier, VerifierList};

fn log(temp: &tempfile::TempDir) -> Log {
    let dir = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
    Log::create(dir, Signer::new("log.example", Role::Log, [1; 32]).unwrap()).unwrap()
}

fn entries(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(|n| format!("entry {n}").into_bytes()).collect()
}

fn root(checkpoint: &Checkpoint) -> RootHash<Sha256> {
    RootHash::new(checkpoint.root().0.into(), checkpoint.size())
}

/// The hashes of a path, one after the other.
fn bytes(path: &[TreeHash]) -> Vec<u8> {
    path.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn another_tree_has_the_same_roots_and_takes_the_proofs() {
    let temp = tempfile::tempdir().unwrap();
    let mut log = log(&temp);
    let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut roots = vec![];
    // Whole tiles, parts of them, and what lies across two.
    for to in [1, 2, 3, 7, 8, 255, 256, 257, 300, 513, 700] {
        let new = entries(log.checkpoint().size(), to);
        log.append(&new).unwrap();
        new.into_iter().for_each(|entry| other.push(entry));
        let now = root(log.checkpoint());
        assert_eq!(now.as_bytes(), other.root().as_bytes(), "{to} entries");
        for index in [0, to / 3, to / 2, to - 1] {
            let proof = log.tree().prove(index).unwrap();
            let entry = format!("entry {index}").into_bytes();
            let path = InclusionProof::from_bytes(bytes(&proof.path));
            now.verify_inclusion(&entry, index, &path).unwrap();
            assert!(now.verify_inclusion(&b"another".to_vec(), index, &path).is_err());
        }
        for earlier in &roots {
            let earlier: &RootHash<Sha256> = earlier;
            let path = log.tree().prove_beginning(earlier.num_leaves()).unwrap();
            let path = ConsistencyProof::try_from_bytes(bytes(&path)).unwrap();
            now.verify_consistency(earlier, &path).unwrap();
        }
        roots.push(now);
    }
}

#[test]
fn another_reader_of_notes_takes_checkpoints_and_no_changed_one() {
    let temp = tempfile::tempdir().unwrap();
    let mut log = log(&temp);
    log.append(&entries(0, 5)).unwrap();
    let signer = Signer::new("log.example", Role::Log, [1; 32]).unwrap();
    // A witness's line is of a type that this reader does not know: it must pass it over.
    let mut note = log.checkpoint().note().clone();
    note.sign(&Signer::new("a.example", Role::Witness, [2; 32]).unwrap(), 1_790_000_000).unwrap();
    let known = || VerifierList::new(vec![Box::new(StandardVerifier::new(&signer.verifier().to_string()).unwrap())]);
    let read = |text: &str| signed_note::Note::from_bytes(text.as_bytes()).unwrap().verify(&known());
    let (verified, others) = read(&note.to_string()).unwrap();
    assert_eq!((verified.len(), others.len()), (1, 1));
    assert_eq!(verified[0].name(), "log.example");
    assert!(read(&note.to_string().replacen("\n5\n", "\n6\n", 1)).is_err());
}
