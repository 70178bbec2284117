#![no_main]
// The result of a job as a requester prints it, in each format. The first byte chooses.
#![allow(dead_code, reason = "the program's own file, of which a target uses a part")]
use std::io::Write;
use std::sync::{Arc, Mutex};

use clap::ValueEnum;

#[path = "../../../../host/cli/src/output.rs"]
mod output;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The program catches the panics of Arrow's reader; the fuzzer's hook would end the process before it can.
    std::panic::set_hook(Box::new(|_| ()));
    let Some((first, bytes)) = bytes.split_first() else { return };
    let formats = output::OutputFormat::value_variants();
    let format = formats[*first as usize % formats.len()];
    let Ok(output) = output::Output::open(Some(format), Some("/dev/shm/eider-fuzz-result".as_ref())) else { return };
    // In two pieces, as it streams.
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let output = output::SharedOutput(Arc::new(Mutex::new(output)));
    let mut writer = output.clone();
    if writer.write_all(head).and_then(|()| writer.write_all(tail)).is_ok() {
        let _ = output.0.lock().map(|mut o| o.finish());
    }
});
