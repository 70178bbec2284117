//! Offers fewer or smaller inputs than its task has.
//! loses: the place of a Bid, until the Dispatch

use eider_tests::strangers::*;

/// [P-DISPATCH-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task_on("SELECT 1", vec![Stranger::entry(0, b"12")]);
    for (count, bytes) in [(0, 2), (1, 1), (1, 0), (2, 2), (0, 0)] {
        let (mut stream, _) = stranger.run_with(&task, |offer| offer.inputs = InputsSummary { count, bytes }).await?;
        let code = Stranger::refusal(&mut stream).await?;
        ensure!(code == ResetCode::TaskMismatch, "{count} of {bytes} bytes: reset as {code}");
    }
    stranger.is_free().await
}
