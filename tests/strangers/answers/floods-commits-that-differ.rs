//! Commits to two hundred different results at once, the first of which is the truth.
//! loses: one execution
//! fates: caught: it committed to two different results

use eider_tests::strangers::*;

/// [P-COMMIT-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let mut flood = vec![];
    for n in 0..200 {
        let outcome = if n == 0 { call.truth().0 } else { call.lie_number(n) };
        flood.extend(encode_frame(Kind::Commit, &call.sign(call.commit_to(outcome)).to_payload())?);
    }
    let _ = call.stream.sender.bytes(flood.into()).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Equivocation, "it was not caught");
    Ok(())
}
