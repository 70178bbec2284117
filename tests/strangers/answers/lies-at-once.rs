//! Commits to a lie the moment that it has the task.
//! loses: one execution, of another worker
//! fates: caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(mut call: Call) -> Result<()> {
    call.bid().await?;
    call.task().await?;
    let lie = call.lie().await?;
    call.commit(lie).await?;
    call.until_reset().await;
    Ok(())
}
