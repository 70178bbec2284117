//! Takes the task, and is gone.
//! loses: one execution that is not made
//! fates: lost:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.connection.close(ResetCode::ShuttingDown);
    Ok(())
}
