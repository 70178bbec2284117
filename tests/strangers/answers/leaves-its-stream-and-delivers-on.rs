//! Commits to the truth, delivers half of it, ends the job's stream, and goes on to hold the result's stream open in silence.
//! loses: the five seconds after which another of the quorum goes on
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: lost: it ended the stream

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, _, source) = call.first_of_all().await?;
    eider_net::send(&mut stream.sender, &source, 0, 1 << 20, PATIENT).await?;
    call.stream.sender.finish().await;
    while let Ok(Some(_)) = stream.receiver.bytes().await {}
    // The requester gives the result's stream up, or the job is over.
    tokio::time::timeout(Duration::from_secs(20), stream.sender.delivered()).await.context("it is not given up")?;
    call.until_reset().await;
    Ok(())
}
