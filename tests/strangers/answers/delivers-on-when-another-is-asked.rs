//! Commits to the truth, delivers a part of it, ends the job's stream, so that another is asked for the rest, and delivers a little more.
//! loses: what it delivers twice
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: lost: it ended the stream

use eider_net::{BlobError, ReadAt, Source};
use eider_tests::strangers::*;

/// Where it pauses.
const PART: u64 = 1 << 20;

struct Pausing(Vec<u8>);

impl ReadAt for Pausing {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        if offset == PART {
            std::thread::sleep(Duration::from_secs(1));
        }
        self.0.read_exact_at(offset, into)
    }
}

/// [P-STREAM-2], [P-RESET-1]: the other goes on from where the result is, and not from where it was when it was asked.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, _, source) = call.first_of_all().await?;
    let source = Source { bytes: std::sync::Arc::new(Pausing(call.truth().1.to_vec())), ..source };
    let Call { stream: JobStream { sender: mut job, receiver: _kept }, connection: _stands, .. } = call;
    let more = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        job.finish().await;
    };
    let deliver = eider_net::send(&mut stream.sender, &source, 0, PART + 5 * CHUNK_GROUP_BYTES, PATIENT);
    let ((), delivered) = tokio::join!(more, deliver);
    // It may be told to stop, in the protocol's words.
    if let Err(e) = delivered {
        ensure!(matches!(e, BlobError::Stream(StreamError::Reset(_))), "stopped otherwise: {e}");
    }
    stream.sender.finish().await;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.sender.delivered()).await;
    Ok(())
}
