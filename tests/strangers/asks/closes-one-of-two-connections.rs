//! Closes one connection while another of the same identity has a job that is committed to, and one that runs.
//! loses: nothing more than the two jobs

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let other = stranger.again(&town.worker(0)).await?;
    let (_left, _) = other.run(&Stranger::task(Stranger::LONG)).await?;
    let (mut stream, commit) = stranger.committed("SELECT 42").await?;
    let (mut running, _) = stranger
        .run(&Stranger::task("SELECT count(*) FROM range(3000) a, range(3000) b WHERE a.range < b.range"))
        .await?;
    other.connection.close(ResetCode::Cancelled);
    let committed = stranger.commit(&mut running).await?;
    for (stream, commit) in [(&mut stream, &commit), (&mut running, &committed)] {
        ensure!(!stranger.result(commit, 0).await?.is_empty(), "a result is gone");
        stranger.settle(stream, commit).await?;
    }
    stranger.is_free().await
}
