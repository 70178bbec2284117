//! Commits to the truth before one of three honest workers has, and to a lie when three of four agree with it.
//! loses: the job, where no spare is left to complete the quorum again: it is caught, and no byte of a lie is vouched for
//! ends: verified | no-quorum
//! fates: caught: it committed to two different results

use eider_tests::strangers::*;

/// [P-COMMIT-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (stream, ..) = call.first_of_all().await?;
    call.commit(call.lie()).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Equivocation, "it was not caught");
    drop(stream);
    Ok(())
}
