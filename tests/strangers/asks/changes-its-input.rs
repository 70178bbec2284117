//! Says at each Fetch that its input has changed.
//! loses: one execution, to the first read of its input

use eider_tests::strangers::*;

/// [P-FETCH-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let served = stranger.serves_resets(ResetCode::InputChanged);
    let task = Stranger::task_on("SELECT count(*) FROM t", vec![Stranger::entry(0, &[b'1'; 100_000])]);
    let (mut stream, _) = stranger.run(&task).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::InputChanged && code.fault() != Fault::Receiver, "reset as {code}");
    ensure!(served.asked() == 1, "{} fetches came", served.asked());
    stranger.is_free().await
}
