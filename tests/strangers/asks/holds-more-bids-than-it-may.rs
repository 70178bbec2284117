//! Lets 64 Bids wait for their Dispatch, and wants one more, on another connection too.
//! loses: 64 places for Bids that wait, for as long as the Offers are good

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let other = stranger.again(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let mut held = vec![];
    for from in [&stranger; 32].into_iter().chain([&other; 32]) {
        held.push(from.accepted(&from.offer_with(&task, |_| {})?).await?);
    }
    for from in [&stranger, &other] {
        let reason = from.declined(&from.offer_with(&task, |_| {})?).await?;
        ensure!(reason == DeclineReason::Busy, "{reason:?}");
    }
    let neighbour = Stranger::dial(&town.worker(0)).await?;
    neighbour.is_free().await?;
    for (stream, ..) in &mut held {
        stream.reset(ResetCode::Cancelled);
    }
    stranger.is_free().await
}
