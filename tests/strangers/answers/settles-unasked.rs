//! Sends a receipt of a Settle that never was, when it has the task or after its Commit.
//! loses: one execution
//! strangers: 2
//! plan: 5 3
//! fates: caught: message out of order

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let (outcome, task) = (call.truth().0, call.offer.message().task);
    if call.number % 2 == 1 {
        call.commit_truly().await?;
    }
    let (worker, digest) = (call.identity.node_id(), outcome.digest());
    call.say(Settle { offer: call.id(), task, price: 0, worker, verdict: Verdict::Delivered, digest }).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::Unexpected, "it was believed");
    Ok(())
}
