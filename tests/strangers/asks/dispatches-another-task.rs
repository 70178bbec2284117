//! Dispatches tasks that are not the one that it has offered: another query, time, seed, salt.
//! loses: the place of a Bid, until the Dispatch

use eider_tests::strangers::*;

/// [P-TASK-1] [P-DISPATCH-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let changes: [fn(&mut Task); 5] = [
        |task| task.sql = "SELECT 2".into(),
        |task| task.time_us += 1,
        |task| task.seed[31] ^= 1,
        |task| task.salt[0] ^= 1,
        |task| task.inputs.push(Stranger::entry(0, b"1")),
    ];
    for change in changes {
        let offered = Stranger::task("SELECT 1");
        let (mut stream, id, bid) = stranger.accepted(&stranger.offer_with(&offered, |_| {})?).await?;
        let mut task = offered.clone();
        change(&mut task);
        stranger.dispatches(&mut stream, id, &bid, &task).await?;
        let code = Stranger::refusal(&mut stream).await?;
        ensure!(code == ResetCode::TaskMismatch, "reset as {code}");
    }
    stranger.is_free().await
}
