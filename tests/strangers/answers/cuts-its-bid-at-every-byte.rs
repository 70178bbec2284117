//! Finishes the stream in its Bid, each of a hundred at another byte, four times.
//! loses: half a Bid each
//! strangers: 100
//! jobs: 4
//! fates: caught: malformed message (the stream ended early) | lost: it ended the stream | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let frame = encode_frame(Kind::Bid, &call.sign(call.good_bid()).to_payload())?;
    ensure!(frame.len() <= 400, "{} bytes, and four hundred strangers", frame.len());
    let cut = call.number % frame.len();
    call.stream.sender.bytes(frame[..cut].to_vec().into()).await?;
    call.stream.sender.finish().await;
    call.until_reset().await;
    Ok(())
}
