//! Has as many results kept as it may, and wants another job.
//! loses: the disk of sixteen results, for ten minutes

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let mut jobs = vec![];
    for i in 0..16 {
        jobs.push(stranger.committed(&format!("SELECT {i}")).await?);
    }
    let next = stranger.offer_with(&Stranger::task("SELECT 17"), |_| {})?;
    let reason = stranger.declined(&next).await?;
    ensure!(reason == DeclineReason::Busy, "{reason:?}");
    Stranger::dial(&town.worker(0)).await?.is_free().await?;
    for (stream, commit) in &mut jobs {
        ensure!(!stranger.result(commit, 0).await?.is_empty(), "a result is gone");
        stranger.settle(stream, commit).await?;
    }
    stranger.is_free().await
}
