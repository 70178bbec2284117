//! Lets the worker send one byte at a time, and has a job run and delivered so.
//! loses: a small task for each of its streams, for as long as it takes them

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial_with_a_window_of_one_byte(&town.worker(0)).await?;
    let (mut stream, commit) = stranger.committed("SELECT 42 AS answer").await?;
    let bytes = stranger.result(&commit, 0).await?;
    ensure!(bytes.len() as u64 == Stranger::root(&commit)?.1, "{} bytes came", bytes.len());
    stranger.settle(&mut stream, &commit).await
}
