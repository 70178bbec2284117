//! Finishes the stream with the Bid, with the task, or with the Commit.
//! loses: one execution each
//! strangers: 2
//! plan: 5 3
//! jobs: 3
//! fates: lost: it ended the stream | lost: it left after its commit | lost: the delivery broke off

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    if call.number % 3 > 0 {
        call.task().await?;
    }
    if call.number % 3 == 2 {
        call.commit_truly().await?;
    }
    call.stream.sender.finish().await;
    call.until_reset().await;
    Ok(())
}
