#![no_main]
// What announces a sealed stream, and the size of its records: nothing larger than one may be is ever allocated.
use eider_protocol::{Opener, RECORD_HEADER_BYTES, RECORD_MAX, Sealed};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Sealed::decode(bytes) {
        assert_eq!(Sealed::decode(&message.to_payload()), Ok(message));
    }
    let Some(header) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else { return };
    assert!(Opener::record_bytes(*header).is_ok_and(|n| n < 2 * RECORD_MAX) || u16::from_be_bytes(*header) > 16 << 10);
});
