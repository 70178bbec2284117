//! Lets the worker send one byte at a time, has a long job run, and reads nothing of it.
//! loses: one cell, for the second and a half that its Offer asks for

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial_with_a_window_of_one_byte(&town.worker(0)).await?;
    let (mut stream, _) =
        stranger.run_with(&Stranger::task(Stranger::LONG), |offer| offer.limits.run_ms = 1500).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stranger.is_free().await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::TimeLimit, "reset as {code}");
    Ok(())
}
