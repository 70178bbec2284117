//! Has a job with half of all memory run, and does not settle it; another comes with as large a one.
//! loses: the disk of one result, for ten minutes

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let half = |offer: &mut Offer| offer.limits.memory = 3 << 30;
    let task = Stranger::task("SELECT 1");
    let (mut stream, _) = stranger.run_with(&task, half).await?;
    let commit = stranger.commit(&mut stream).await?;
    let next = Stranger::dial(&town.worker(0)).await?;
    let (mut next_stream, _) = next.run_with(&Stranger::task("SELECT 2"), half).await?;
    let next_commit = next.commit(&mut next_stream).await?;
    next.settle(&mut next_stream, &next_commit).await?;
    // Its own next job is taken too.
    stranger.is_free().await?;
    stranger.settle(&mut stream, &commit).await
}
