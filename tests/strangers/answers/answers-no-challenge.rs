//! Answers a Challenge that was never sent.
//! loses: one Bid
//! fates: caught: message out of order

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.say(Response { offer: call.id(), secret: vec![1; 32] }).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it was heard");
    Ok(())
}
