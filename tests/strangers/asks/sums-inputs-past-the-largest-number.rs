//! Names inputs whose sizes have a sum that does not fit a number, and offers what is left of it.
//! loses: the place of a Bid, until the Dispatch

use eider_tests::strangers::*;

/// [P-DISPATCH-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let of_size = |n, size| InputEntry { size, ..Stranger::entry(n, b"1") };
    let task = Stranger::task_on("SELECT 1", vec![of_size(0, u64::MAX), of_size(1, 2)]);
    let (mut stream, _) = stranger.run_with(&task, |offer| offer.inputs.bytes = 1).await?;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::TaskMismatch, "reset as {code}");
    stranger.is_free().await
}
