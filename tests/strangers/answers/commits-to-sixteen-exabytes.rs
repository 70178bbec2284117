//! Commits to a result of 16 EiB.
//! loses: one execution
//! fates: caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let mut outcome = call.lie();
    if let Outcome::Completed { length, rows, .. } = &mut outcome {
        (*length, *rows) = (u64::MAX, u64::MAX);
    }
    call.commit(outcome).await?;
    call.until_reset().await;
    Ok(())
}
