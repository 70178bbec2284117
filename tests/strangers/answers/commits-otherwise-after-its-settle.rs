//! Commits to the truth, and to a lie when it is settled with.
//! loses: nothing; the job is over
//! plan: 4 4
//! fates: agreed | delivered | caught: it committed to two different results
//! keeps: both commits

use eider_tests::strangers::*;

/// [P-COMMIT-1]: whenever it comes, both are kept.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.commit_truly().await?;
    call.settled().await?;
    call.commit(call.lie()).await?;
    call.stream.sender.finish().await;
    tokio::time::timeout(Duration::from_secs(5), call.stream.sender.delivered()).await.context("it is not read")?;
    Ok(())
}
