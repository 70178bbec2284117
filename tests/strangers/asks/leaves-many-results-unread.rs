//! Has eight results of some MB, asks for each on a connection of its own, and reads none.
//! loses: what the windows of eight connections hold: 128 MiB at most

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let before = Stranger::memory_of_its_worker(town);
    let (mut jobs, mut unread) = (vec![], vec![]);
    for _ in 0..8 {
        let one = stranger.again(&town.worker(0)).await?;
        let (stream, commit) = one.committed(Stranger::LARGE).await?;
        unread.push(one.verify(&commit, 0).await?);
        jobs.push((one, stream, commit));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let more = Stranger::memory_of_its_worker(town).saturating_sub(before);
    ensure!(more < 160 << 20, "the worker holds {more} bytes for it");
    for (one, stream, commit) in &mut jobs {
        one.settle(stream, commit).await?;
    }
    for delivery in &mut unread {
        // All of a small one may be under way already.
        let _ = Stranger::ended(delivery).await;
    }
    stranger.is_free().await
}
