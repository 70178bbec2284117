//! Commits rightly and first, and then delivers a byte a second.
//! loses: the five seconds after which another of the quorum is asked
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: agreed | reset: | lost:

use eider_tests::strangers::*;

pub(crate) async fn play(mut call: Call) -> Result<()> {
    let (outcome, bytes) = call.truth().await?;
    call.bid().await?;
    call.task().await?;
    call.commit(outcome).await?;
    let (mut stream, ..) = call.verified().await?;
    for byte in bytes.iter() {
        stream.sender.bytes(vec![*byte].into()).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
