//! Closes its connection while two of its jobs run and some of its Bids wait.
//! loses: nothing more than a moment of two cells

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let mut streams = vec![];
    for _ in 0..10 {
        streams.push(stranger.accepted(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?);
    }
    let _first = stranger.run(&Stranger::task(Stranger::LONG)).await?;
    let _second = stranger.run(&Stranger::task(Stranger::LONG)).await?;
    stranger.connection.close(ResetCode::Cancelled);
    stranger.again(&town.worker(0)).await?.is_free().await
}
