//! Dispatches its task again while it runs.
//! loses: the job

use eider_tests::strangers::*;

/// [P-DISPATCH-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task(Stranger::LONG);
    let (mut stream, id, bid) = stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?;
    let dispatch = stranger.dispatch(id, &bid, &task)?;
    stranger.sends(&mut stream, &dispatch).await?;
    stream.sender.send(&dispatch).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::Unexpected, "reset as {code}");
    stranger.is_free().await
}
