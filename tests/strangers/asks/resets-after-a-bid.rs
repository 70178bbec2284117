//! Resets the stream of each Bid that it gets, two hundred times.
//! loses: a Bid for each

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for _ in 0..200 {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
        let (mut stream, ..) = stranger.accepted(&offer).await?;
        stream.reset(ResetCode::NotChosen);
    }
    stranger.is_free().await
}
