//! Ends the job's stream after the Offer, after the Bid, after the Dispatch and after the Commit.
//! loses: the job

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let mut stream = stranger.says(Stranger::frame_of(&offer)).await?;
    stream.sender.finish().await;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::Malformed, "after its offer: reset as {code}");
    let (mut stream, ..) = stranger.accepted(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
    stream.sender.finish().await;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Malformed, "after its bid: reset as {code}");
    let (mut stream, _) = stranger.run(&Stranger::task(Stranger::LONG)).await?;
    stream.sender.finish().await;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::Cancelled, "after its dispatch: reset as {code}");
    let (mut stream, _) = stranger.committed("SELECT 1").await?;
    stream.sender.finish().await;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Malformed, "after the commit: reset as {code}");
    stranger.is_free().await
}
