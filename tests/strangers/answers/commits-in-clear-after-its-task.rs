//! Takes the task, and says more in clear, under its own good signature: that it works, its Commit, an answer to no Challenge.
//! loses: one execution; who has a copy of a worker's key file can do that, so the worker is not blamed
//! strangers: 2
//! plan: 5 3
//! jobs: 3
//! fates: lost: it is not sealed

use eider_tests::strangers::*;

/// [P-SEAL-5]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.stream.receiver.expect_of(&[Kind::Dispatch]).await?;
    match call.number % 3 {
        0 => call.progress().await?,
        1 => call.commit_truly().await?,
        _ => call.say(Response { offer: call.id(), secret: vec![1; 32] }).await?,
    }
    let got = Stranger::reset_of(&mut call.stream).await?;
    ensure!(matches!(got, ResetCode::Unsealed | ResetCode::QuorumReached), "reset as {got}");
    Ok(())
}
