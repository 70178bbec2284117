//! Declines in a megabyte of words, which no Bid may have, or claims four gigabytes of them.
//! loses: five bytes of a frame
//! strangers: 2
//! fates: caught: frame too large

use eider_tests::strangers::*;

/// [P-FRAME-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let decline = Decline { reason: DeclineReason::Unavailable, detail: "no ".repeat(350_000) };
    let payload = call.sign(Bid { answer: Err(decline), ..call.good_bid() }).to_payload();
    let length = if call.number % 2 == 0 { u32::try_from(payload.len())? } else { u32::MAX };
    let frame = [&[Kind::Bid as u8], &length.to_be_bytes()[..], &payload].concat();
    let _ = call.stream.sender.bytes(frame.into()).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::FrameTooLarge, "it was read");
    Ok(())
}
