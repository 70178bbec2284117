//! Two agree on a lie, at once, where three must agree.
//! loses: two executions
//! strangers: 2
//! plan: 5 3
//! fates: caught: its commit disagrees

use eider_tests::strangers::*;

/// [P-COMMIT-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.commit(call.lie()).await?;
    call.until_reset().await;
    Ok(())
}
