#![no_main]
// A signed commit frame, both as a payload and as a body that carries a valid signature.
use eider_protocol::{Identity, Signed, Commit};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let identity = Identity::from_seed([42; 32]);
    if let Ok(signed) = Signed::<Commit>::open(bytes, identity.node_id()) {
        assert_eq!(signed.to_payload().len(), bytes.len());
    }
    if let Some(message) = Signed::<Commit>::parse_body(bytes) {
        let again = Signed::sign(&identity, message);
        assert_eq!(Signed::<Commit>::open(&again.to_payload(), identity.node_id()).as_ref(), Ok(&again));
    }
});
