//! Says that it is busy, and bids and lies when it is asked again; all four must agree.
//! loses: the time until it is asked again, and the job, which needs it
//! plan: 4 4
//! ends: no-quorum | verified
//! fates: reset: the job is over | caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let decline = Decline { reason: DeclineReason::Busy, detail: "later".into() };
    call.say(Bid { answer: Err(decline), ..call.good_bid() }).await?;
    let mut call = call.again().await?;
    call.bid().await?;
    call.task().await?;
    call.commit(call.lie()).await?;
    call.until_reset().await;
    Ok(())
}
