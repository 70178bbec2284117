#![no_main]
use eider_protocol::Fetch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Fetch::decode(bytes) {
        assert_eq!(Fetch::decode(&message.to_payload()), Ok(message));
    }
});
