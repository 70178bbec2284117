#![no_main]
// The result of a job as a requester prints it, in each format. The first byte chooses.
use eider_results::{Formatter, OutputFormat};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The program catches the panics of Arrow's reader; the fuzzer's hook would end the process before it can.
    std::panic::set_hook(Box::new(|_| ()));
    let Some((first, bytes)) = bytes.split_first() else { return };
    let format = OutputFormat::ALL[*first as usize % OutputFormat::ALL.len()];
    let mut formatter = Formatter::new(format, Box::new(std::io::sink()));
    // In two pieces, as it streams.
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let mut take = |piece: &[u8]| formatter.write(piece.to_vec().into());
    if take(head).and_then(|()| take(tail)).is_ok() {
        let _ = formatter.finish();
    }
});
