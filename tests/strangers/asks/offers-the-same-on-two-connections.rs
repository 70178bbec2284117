//! Sends one Offer on two connections, and dispatches it on both.
//! loses: one execution

use eider_tests::strangers::*;

/// [P-DISPATCH-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let other = stranger.again(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let offer = stranger.offer_with(&task, |_| {})?;
    let (mut first, id, bid) = stranger.accepted(&offer).await?;
    let (mut second, _, other_bid) = other.accepted(&offer).await?;
    stranger.dispatches(&mut first, id, &bid, &task).await?;
    let commit = stranger.commit(&mut first).await?;
    other.dispatches(&mut second, id, &other_bid, &task).await?;
    let code = Stranger::refusal(&mut second).await?;
    ensure!(code == ResetCode::Unexpected, "reset as {code}");
    stranger.settle(&mut first, &commit).await
}
