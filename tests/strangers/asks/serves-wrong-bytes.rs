//! Serves inputs whose bytes are not those of the manifest; their owner's job on the same file stays right.
//! loses: one execution, to the first read of its input

use eider_tests::strangers::*;

/// [P-STREAM-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let victim = Stranger::victim()?;
    let _served = stranger.serves_wrong_bytes(vec![victim.bytes.clone()]);
    let task = Stranger::task_on("SELECT count(*) FROM t", vec![Stranger::entry(0, &victim.bytes)]);
    let (mut stream, _) = stranger.run(&task).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::InputUnavailable, "reset as {code}");
    victim.runs(town).await?;
    stranger.is_free().await
}
