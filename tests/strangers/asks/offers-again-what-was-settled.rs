//! Sends an Offer again whose job was settled, and dispatches it again.
//! loses: a Bid

use eider_tests::strangers::*;

/// [P-DISPATCH-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let offer = stranger.offer_with(&task, |_| {})?;
    let (mut stream, id, bid) = stranger.accepted(&offer).await?;
    stranger.dispatches(&mut stream, id, &bid, &task).await?;
    let commit = stranger.commit(&mut stream).await?;
    stranger.settle(&mut stream, &commit).await?;
    let (mut stream, id, bid) = stranger.accepted(&offer).await?;
    stranger.dispatches(&mut stream, id, &bid, &task).await?;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Unexpected, "reset as {code}");
    stranger.is_free().await
}
