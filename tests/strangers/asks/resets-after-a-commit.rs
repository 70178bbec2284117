//! Resets the streams of jobs that were committed to: their results are not wanted.
//! loses: the disk of each, until then

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    // More than may be kept.
    for i in 0..20 {
        let (mut stream, commit) = stranger.committed(&format!("SELECT {i}")).await?;
        stream.reset(ResetCode::Dissent);
        stranger.is_free().await?;
        let mut gone = false;
        for _ in 0..100 {
            gone = matches!(stranger.unverified(&commit, 0).await, Ok(ResetCode::WrongPeer));
            if gone {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ensure!(gone, "the result is still kept");
    }
    Ok(())
}
