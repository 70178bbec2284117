//! Declines for a reason that only a later version knows.
//! loses: one Bid
//! fates: speaks another version

use eider_tests::strangers::*;

/// [P-VER-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let decline = Decline { reason: DeclineReason::Busy, detail: "it is Sunday".into() };
    let payload = call.sign(Bid { answer: Err(decline), ..call.good_bid() }).to_payload();
    let mut body = body_of(&payload)?.to_vec();
    let at = body.windows(4).position(|w| w == b"busy").context("no reason")?;
    body[at..at + 4].copy_from_slice(b"lazy");
    call.stream.sender.frame(Kind::Bid, &call.envelope(Kind::Bid, &body)).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Incompatible, "it was understood");
    Ok(())
}
