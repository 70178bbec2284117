//! Commits to the truth, a thousand times.
//! loses: one execution
//! fates: caught: message out of order

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let commit = call.sign(call.commit_to(call.truth().0)).to_payload();
    let _ = call.stream.sender.bytes(encode_frame(Kind::Commit, &commit)?.repeat(1_000).into()).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it was not caught");
    Ok(())
}
