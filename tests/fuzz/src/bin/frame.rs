#![no_main]
// The header of a frame: nothing larger than its kind allows is ever allocated.
use eider_protocol::{FrameHeader, HEADER_BYTES};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return };
    if let Ok(header) = FrameHeader::parse(*header) {
        assert!(header.length <= header.kind.max_bytes());
    }
});
