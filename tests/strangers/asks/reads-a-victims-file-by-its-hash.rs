//! Names another's file by hash and size, of which it has nothing, after its owner's job has brought it to the worker.
//! loses: one execution, to the first read of its input

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let victim = Stranger::victim()?;
    victim.runs(town).await?;
    let _served = stranger.serves_resets(ResetCode::InputChanged);
    let task = Stranger::task_on("SELECT min(b) FROM t", vec![Stranger::entry(0, &victim.bytes)]);
    let (mut stream, _) = stranger.run(&task).await?;
    let read = stranger.commit(&mut stream).await;
    if let Ok(commit) = &read {
        stranger.settle(&mut stream, commit).await?;
    }
    ensure!(read.is_err(), "the worker has let it read what only the other has");
    stranger.is_free().await
}
