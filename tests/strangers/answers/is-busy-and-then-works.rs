//! Says that it is busy, goes on to talk on that stream, and works honestly when it is asked again; all four must agree.
//! loses: the time until it is asked again
//! plan: 4 4
//! fates: agreed | delivered

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let decline = Decline { reason: DeclineReason::Busy, detail: "later".into() };
    call.say(Bid { answer: Err(decline), ..call.good_bid() }).await?;
    // Nobody listens here any more.
    let _ = call.bid().await;
    let _ = call.commit(call.lie()).await;
    let mut call = call.again().await?;
    call.bid().await?;
    call.task().await?;
    call.end_truly().await
}
