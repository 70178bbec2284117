//! Commits to a lie the moment that it has the task.
//! loses: one execution, of another worker
//! fates: caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.commit(call.lie()).await?;
    call.until_reset().await;
    Ok(())
}
