//! Commits to the truth and, when its vote has made a quorum, to a lie.
//! loses: one execution
//! plan: 3 2
//! jobs: 6
//! fates: caught: it committed to two different results | reset: other bids

use eider_tests::strangers::*;

/// [P-COMMIT-1]: that there is a quorum with it, the Verify shows.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (stream, ..) = call.first_of_all().await?;
    call.commit(call.lie()).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Equivocation, "it was not caught");
    drop(stream);
    Ok(())
}
