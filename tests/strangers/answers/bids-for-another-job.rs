//! Answers the Offer with a Bid for another.
//! loses: one Bid
//! fates: caught: message out of order

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.say(call.bid_for(OfferId::from_bytes([7; 32]))).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it was held");
    Ok(())
}
