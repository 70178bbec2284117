//! Commits rightly and first, and then delivers just faster than the pace below which another of the quorum would be asked.
//! loses: some seconds, after which another of the quorum goes on; never the job
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! deadline: 30
//! fates: agreed | delivered

use eider_net::{ReadAt, Source};
use eider_tests::strangers::*;

/// A group of 16 KiB takes so long: a piece of 256 KiB comes every three and a half seconds, and the requester's pace wants 128 KiB in five.
const GROUP: Duration = Duration::from_millis(220);

struct Leisurely(Vec<u8>);

impl ReadAt for Leisurely {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        std::thread::sleep(GROUP);
        self.0.read_exact_at(offset, into)
    }
}

/// [P-STREAM-2], [P-RESET-3]: two honest workers have the same bytes, and would bring them within a second.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let truth = call.truth().1;
    ensure!(truth.len() > 3_000_000, "the result is too small to be late with: {}", truth.len());
    let (mut stream, _, source) = call.first_of_all().await?;
    let source = Source { bytes: std::sync::Arc::new(Leisurely(truth.to_vec())), ..source };
    // It is cut off, one hopes.
    let _ = eider_net::send(&mut stream.sender, &source, 0, truth.len() as u64, PATIENT).await;
    call.until_reset().await;
    Ok(())
}
