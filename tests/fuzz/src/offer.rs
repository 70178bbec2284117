#![no_main]
// A signed offer frame, both as a payload and as a body that carries a valid signature.
use eider_protocol::{Identity, Signed, Offer};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let identity = Identity::from_seed([42; 32]);
    if let Ok(signed) = Signed::<Offer>::open(bytes, identity.node_id()) {
        assert_eq!(signed.to_payload().len(), bytes.len());
    }
    if let Some(message) = Signed::<Offer>::parse_body(bytes) {
        let again = Signed::sign(&identity, message);
        assert_eq!(Signed::<Offer>::open(&again.to_payload(), identity.node_id()).as_ref(), Ok(&again));
    }
});
