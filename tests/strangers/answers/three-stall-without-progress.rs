//! Three, as many as run the job, take the task and say nothing more.
//! loses: three of five executions, and five seconds if all three are drawn first
//! strangers: 3
//! plan: 3 2
//! jobs: 2
//! fates: reset: quorum was reached | reset: other bids | reset: no progress

use eider_tests::strangers::*;

/// [P-RESET-3]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.until_reset().await;
    Ok(())
}
