//! Resets the streams of long jobs, at once and while they run.
//! loses: a moment of two cells at a time

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for wait_ms in [0, 0, 5, 50, 300] {
        let (mut first, _) = stranger.run(&Stranger::task(Stranger::LONG)).await?;
        let (mut second, _) = stranger.run(&Stranger::task(Stranger::LONG)).await?;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        for stream in [&mut first, &mut second] {
            stream.reset(ResetCode::QuorumReached);
        }
        stranger.is_free().await?;
    }
    Ok(())
}
