//! Commits to the truth, delivers a part of it, and commits to a lie.
//! loses: one execution, and the time of what was delivered; where no spare worker is left, the job
//! plan: 3 2
//! jobs: 6
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: caught: it committed to two different results | reset: other bids

use eider_tests::strangers::*;

/// [P-COMMIT-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, _, source) = call.first_of_all().await?;
    eider_net::send(&mut stream.sender, &source, 0, 1 << 20, PATIENT).await?;
    call.commit(call.lie()).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Equivocation, "it was not caught");
    Ok(())
}
