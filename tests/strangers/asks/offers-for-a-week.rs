//! Sends Offers that are to be good for longer than a day.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-OFFER-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for valid_s in [Offer::VALID_MAX_S + 1, 7 * 86_400, u32::MAX] {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| offer.valid_s = valid_s)?;
        let reason = stranger.declined(&offer).await?;
        ensure!(reason == DeclineReason::Expired, "{valid_s} s: {reason:?}");
    }
    Ok(())
}
