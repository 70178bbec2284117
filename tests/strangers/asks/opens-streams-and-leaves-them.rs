//! Opens as many streams as it may, says nothing on them, and keeps them.
//! loses: a small task for each stream, for ten seconds

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let mut streams = vec![];
    while let Ok(Ok(mut stream)) = tokio::time::timeout(Duration::from_millis(300), stranger.connection.open()).await {
        // A stream exists for the other end from its first byte on.
        stream.sender.bytes(vec![1].into()).await?;
        streams.push(stream);
    }
    ensure!(streams.len() >= 32, "only {} streams could be opened", streams.len());
    ensure!(Stranger::reset_of(&mut streams[0]).await? == ResetCode::Stalled, "it was not reset for its silence");
    Ok(())
}
