//! Commits before it was given the task.
//! loses: one Bid
//! strangers: 2
//! fates: caught: message out of order | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let guest = caller.meet().await?;
    if guest.number % 2 == 1 {
        // Nobody gets the task while this one is awaited.
        tokio::time::sleep(Duration::from_secs(2)).await;
        return Ok(());
    }
    let mut call = guest.call().await?;
    call.bid().await?;
    call.commit_truly().await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it counted");
    Ok(())
}
