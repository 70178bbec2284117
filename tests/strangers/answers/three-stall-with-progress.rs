//! Three, as many as run the job, take the task and say for ever that they work.
//! loses: three of five executions, and an eighth of the deadline if all three are drawn first
//! strangers: 3
//! plan: 3 2
//! deadline: 40
//! jobs: 2
//! fates: reset: quorum was reached | reset: other bids

use eider_tests::strangers::*;

/// [P-RESET-3]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    while call.progress().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
