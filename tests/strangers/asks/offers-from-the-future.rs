//! Sends Offers that will be good.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-OFFER-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for times in [Offer::SKEW_S + 5, 86_400, i64::MAX] {
        let ahead = |offer: &mut Offer| offer.issued_at = offer.issued_at.saturating_add(times);
        let reason = stranger.declined(&stranger.offer_with(&Stranger::task("SELECT 1"), ahead)?).await?;
        ensure!(reason == DeclineReason::Expired, "{times} s: {reason:?}");
    }
    Ok(())
}
