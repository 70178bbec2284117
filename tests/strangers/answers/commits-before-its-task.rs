//! Commits before it was given the task.
//! loses: one Bid
//! fates: caught: message out of order

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.commit_truly().await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it counted");
    Ok(())
}
