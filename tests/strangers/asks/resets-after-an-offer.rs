//! Resets the stream the moment that its Offer is sent, two hundred times.
//! loses: a Bid for each

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for _ in 0..200 {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
        let mut stream = stranger.says(Stranger::frame_of(&offer)).await?;
        stream.reset(ResetCode::Cancelled);
    }
    holds_no_bid(&stranger).await
}

/// All places for Bids of one requester are free.
async fn holds_no_bid(stranger: &Stranger) -> Result<()> {
    stranger.is_free().await?;
    let mut held = vec![];
    for _ in 0..60 {
        held.push(stranger.accepted(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?);
    }
    for (stream, ..) in &mut held {
        stream.reset(ResetCode::Cancelled);
    }
    Ok(())
}
