//! Commits to the truth, and is gone; all four must agree.
//! loses: nothing, for its commit counts
//! plan: 4 4
//! fates: lost: it left after its commit

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.commit_truly().await?;
    call.stream.sender.finish().await;
    tokio::time::timeout(Duration::from_secs(5), call.stream.sender.delivered()).await.context("it is not taken")?;
    call.connection.close(ResetCode::ShuttingDown);
    Ok(())
}
