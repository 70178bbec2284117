//! Settles a job before its Dispatch, and one while it runs.
//! loses: the place of a Bid, and a moment of one cell

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let settle = |offer, task: &Task| {
        let (worker, digest) = (stranger.connection.node(), Hash::from_bytes([0; 32]));
        stranger.sign(Settle { offer, task: task.hash(), price: 0, worker, verdict: Verdict::Delivered, digest })
    };
    let task = Stranger::task("SELECT 1");
    let (mut stream, id, _) = stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?;
    stream.sender.send(&settle(id, &task)).await?;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Unexpected, "before its dispatch: reset as {code}");
    let task = Stranger::task(Stranger::LONG);
    let (mut stream, id) = stranger.run(&task).await?;
    stream.sender.send(&settle(id, &task)).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::Unexpected, "while it runs: reset as {code}");
    stranger.is_free().await
}
