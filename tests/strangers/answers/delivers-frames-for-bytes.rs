//! Commits to the truth, and answers the Verify with frames.
//! loses: 16 KiB, and a round trip to another of the quorum
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: caught: its bytes do not match

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    let bid = encode_frame(Kind::Bid, &call.sign(call.good_bid()).to_payload())?;
    let _ = stream.sender.bytes(bid.repeat(1_000).into()).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::WrongBytes, "it was believed");
    Ok(())
}
