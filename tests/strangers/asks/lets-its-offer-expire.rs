//! Has a Bid made for an Offer of one second, and sends no Dispatch.
//! loses: the place of one Bid, for that second

use eider_tests::strangers::*;

/// [P-OFFER-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| offer.valid_s = 1)?;
    let (mut stream, ..) = stranger.accepted(&offer).await?;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Expired && code.fault() == Fault::None, "reset as {code}");
    stranger.is_free().await
}
