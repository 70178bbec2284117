//! Doors for fuzz targets; built for them alone.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use crate::engine::Host;
use crate::limits;
use crate::wire::{self, FromCell, HEADER, Input, JobSpec, ToCell};

/// What a cell sends, as its parent reads it; and what a parent sends, as its cell does.
pub fn cell_messages(bytes: &[u8]) {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return };
    let Some((kind, n)) = wire::payload_length(*header) else { return };
    let Some(payload) = rest.get(..n) else { return };
    if let Some(said) = FromCell::decode(kind, payload.to_vec()) {
        assert_eq!(format!("{:?}", from_cell(&said.encode())), format!("{said:?}"));
    }
    if let Some(said) = ToCell::decode(kind, payload) {
        let again = said.encode();
        assert_eq!(format!("{:?}", ToCell::decode(again[0], &again[HEADER..])), format!("{:?}", Some(said)));
    }
}

fn from_cell(frame: &[u8]) -> FromCell {
    let (header, payload) = frame.split_first_chunk::<HEADER>().expect("a frame has a header");
    let (kind, n) = wire::payload_length(*header).expect("what a cell sends has a right header");
    assert_eq!(n, payload.len());
    FromCell::decode(kind, payload.to_vec()).expect("what a cell sends can be read")
}

fn job() -> JobSpec {
    let input = |size| Input { table: "t".into(), file: "t/a.csv".into(), format: "csv".into(), size };
    let inputs = [0, 1000, 40 << 20, u64::MAX].map(input).to_vec();
    JobSpec { sql: "SELECT 1".into(), time_us: 0, seed: [7; 32], memory: 1 << 30, result: 1 << 30, fuel: None, inputs }
}

/// Host functions called in any order with any arguments: whatever leaves the cell is in range. A call is one byte that
/// says which, and 16 of arguments.
pub fn host_calls(bytes: &[u8]) {
    use crate::engine::eider::engine::{progress, results};
    static WINDOW: [u8; limits::CALL_BYTES] = [0; limits::CALL_BYTES];
    const ANSWERS: usize = 32;
    let (cell, mut parent) = UnixStream::pair().expect("a socket pair");
    for end in [&cell, &parent] {
        end.set_nonblocking(true).expect("a socket that does not wait");
    }
    let mut host = Host::new(cell, &WINDOW);
    for _ in 0..ANSWERS {
        parent.write_all(&ToCell::InWindow.encode()).expect("room in the socket");
    }
    let mut frames = vec![];
    for call in bytes.chunks_exact(17).take(ANSWERS) {
        let word = |at: usize| u32::from_le_bytes([call[at], call[at + 1], call[at + 2], call[at + 3]]);
        let offset = u64::from(word(5)) | u64::from(word(9)) << 32;
        match call[0] % 6 {
            0 => host.take(job()),
            1 => drop(host.list()),
            2 => drop(results::Host::write(&mut host, vec![0; word(1) as usize % 4096])),
            3 => drop(progress::Host::report(&mut host, word(1))),
            4 => {
                let grown =
                    wasmtime::ResourceLimiter::memory_growing(&mut host, word(1) as usize, offset as usize, None);
                assert!(!grown.is_ok_and(|fits| fits) || host.memory <= (1 << 30));
            }
            _ => {
                if let Ok(range) = host.read(word(1) % 5, offset, word(13)) {
                    assert_eq!(range.len(), word(13) as usize);
                }
            }
        }
        let mut chunk = [0; 8192];
        match parent.read(&mut chunk) {
            Ok(n) => frames.extend_from_slice(&chunk[..n]),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
    }
    let mut rest = &frames[..];
    while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
        let (_, n) = wire::payload_length(*header).expect("a right header");
        let Some(payload) = after.get(..n) else { break };
        match from_cell(&rest[..HEADER + n]) {
            FromCell::Read { index, offset, length } => {
                let end = offset.checked_add(u64::from(length)).expect("a range that does not wrap");
                assert!(end <= job().inputs[index as usize].size && length as usize <= limits::CALL_BYTES);
            }
            FromCell::Progress(done) => assert!(done <= 10_000),
            FromCell::Result(_) => {}
            other => panic!("a host call sent {other:?}"),
        }
        rest = &after[payload.len()..];
    }
}
