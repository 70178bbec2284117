#![no_main]
// A bundle, its manifest and its entries: refused, or read from the bytes that it is written as. Nobody whom a policy believes has signed it.
use eider_engines::{Bundle, Candidate, EnginePolicy, Entry, Manifest};
use std::sync::LazyLock;

static POLICY: LazyLock<EnginePolicy> = LazyLock::new(|| {
    let key = eider_engines::Signer::new("someone", eider_engines::Role::Publisher, [7; 32]).expect("a key");
    let text = format!("[[rule]]\nabout = \"fuzz\"\npublishers = [\"{}\"]\n", key.verifier());
    EnginePolicy::parse(&text).expect("a policy")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut bundle) = Bundle::parse(bytes) else { return };
    assert_eq!(bundle.checked_bytes().as_deref(), Ok(bytes));
    for logged in bundle.entries_mut() {
        let _ = Entry::read(logged.entry.as_bytes());
    }
    let Ok(manifest) = Manifest::read(&bundle.manifest) else { return };
    let hash = manifest.digests.blake3;
    let build = Candidate { hash, bundle: Some(&bundle), component: None, yanks: &[], before: None, now: 0 };
    assert!(POLICY.judge(&build).admitted().is_none());
    assert!(manifest.build.touches.grown(&manifest.build.touches).is_none());
});
