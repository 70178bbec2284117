//! Sends Offers that were good once.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-OFFER-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for age in [60 + Offer::SKEW_S + 5, 86_400, 1 << 40] {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| offer.issued_at -= age)?;
        let reason = stranger.declined(&offer).await?;
        ensure!(reason == DeclineReason::Expired, "{age} s: {reason:?}");
    }
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| offer.issued_at = i64::MIN)?;
    let reason = stranger.declined(&offer).await?;
    ensure!(reason == DeclineReason::Expired, "{reason:?}");
    Ok(())
}
