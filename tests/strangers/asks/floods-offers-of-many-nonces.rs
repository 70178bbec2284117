//! Holds as many Bids as it may, and sends a thousand more Offers that differ by their nonce alone.
//! loses: 64 places for Bids that wait, and a signature for each Offer

use eider_tests::strangers::*;

/// [P-BID-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let mut held = vec![];
    for _ in 0..60 {
        held.push(stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?);
    }
    let other = stranger.again(&town.worker(0)).await?;
    let mut more = 0;
    for _ in 0..1000 {
        let (stream, _, bid) = other.bid(&other.offer_with(&task, |_| {})?).await?;
        match bid.answer {
            Ok(_) => held.push((stream, OfferId::from_bytes([0; 32]), bid)),
            Err(decline) => {
                ensure!(decline.reason == DeclineReason::Busy, "declined: {}", decline.detail);
                more += 1;
            }
        }
    }
    ensure!(held.len() == 64 && more == 996, "{} bids are held and {more} declined", held.len());
    for (stream, ..) in &mut held {
        stream.reset(ResetCode::Cancelled);
    }
    stranger.is_free().await
}
