//! Bids a thousand times.
//! loses: one Bid
//! fates: caught: message out of order

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let bid = call.sign(call.good_bid()).to_payload();
    let flood = encode_frame(Kind::Bid, &bid)?.repeat(1_000);
    let _ = call.stream.sender.bytes(flood.into()).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it was not caught");
    Ok(())
}
