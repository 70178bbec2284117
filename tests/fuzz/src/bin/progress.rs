#![no_main]
use eider_protocol::Progress;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Progress::decode(bytes) {
        assert_eq!(Progress::decode(&message.to_payload()), Ok(message));
    }
});
