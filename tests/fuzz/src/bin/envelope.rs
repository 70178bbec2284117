#![no_main]
// An envelope as it comes, and what is behind its signature.
use eider_attest::Envelope;
use eider_protocol::Identity;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let identity = Identity::from_seed([42; 32]);
    let _ = Envelope::open(bytes, identity.node_id());
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert_eq!(Envelope::open(&envelope.sign(&identity), identity.node_id()), Ok(envelope));
    }
});
