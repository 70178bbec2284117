//! Serves an input at twenty bytes a second.
//! loses: one cell, for the second and a half that its Offer asks for

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let served = stranger.serves_by_drops();
    let task = Stranger::task_on("SELECT count(*) FROM t", vec![Stranger::entry(0, &[b'1'; 100_000])]);
    let (mut stream, _) = stranger.run_with(&task, |offer| offer.limits.run_ms = 1500).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::TimeLimit && served.asked() > 0, "reset as {code} after {} fetches", served.asked());
    stranger.is_free().await
}
