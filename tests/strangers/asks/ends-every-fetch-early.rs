//! Takes each Fetch of its input and ends the stream before the first byte.
//! loses: one execution, to the first read of its input, which is asked for twice

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let served = stranger.serves_nothing();
    let task = Stranger::task_on("SELECT count(*) FROM t", vec![Stranger::entry(0, &[b'1'; 100_000])]);
    let (mut stream, _) = stranger.run(&task).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::InputUnavailable, "reset as {code}");
    ensure!(served.asked() == 2, "{} fetches came", served.asked());
    stranger.is_free().await
}
