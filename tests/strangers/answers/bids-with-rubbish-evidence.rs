//! Bids with as much rubbish for evidence as a Bid can hold, where none is wanted.
//! loses: what fits into a window
//! fates: unfit: its bid has

use eider_tests::strangers::*;

/// [P-BID-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let rubbish = vec![0xa5; (320 << 10) - 1_024];
    // It is cut off in the middle, or not.
    let _ = call.say(Bid { evidence: Some(rubbish.into()), ..call.good_bid() }).await;
    ensure!(call.task().await.is_err(), "it got the task");
    Ok(())
}
