//! Answers the Offer with each kind of frame that is no Bid.
//! loses: five bytes of a frame each
//! strangers: 12
//! fates: caught: message out of order

use eider_tests::strangers::*;

/// [P-FRAME-4]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let others: Vec<Kind> = Kind::ALL.iter().copied().filter(|k| *k != Kind::Bid).collect();
    ensure!(others.len() == 12, "{} kinds, and twelve strangers", others.len());
    call.stream.sender.frame(others[call.number % 12], &[0; 64]).await?;
    let got = Stranger::reset_of(&mut call.stream).await?;
    ensure!(got == ResetCode::Unexpected, "{}: reset as {got}", others[call.number % 12]);
    Ok(())
}
