#![no_main]
use eider_protocol::{EngineFetch, Published};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = EngineFetch::decode(bytes) {
        assert_eq!(EngineFetch::decode(&message.to_payload()), Ok(message));
    }
    if let Ok(message) = Published::decode(bytes) {
        assert_eq!(Published::decode(&message.to_payload()), Ok(message));
    }
});
