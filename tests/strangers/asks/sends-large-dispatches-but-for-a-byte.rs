//! Sends 64 Dispatches of 4 MiB, all but the last byte of each.
//! loses: four places for large Dispatches, which are 16 MiB, for twenty seconds

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let before = Stranger::memory_of_its_worker(town);
    let mut streams = vec![];
    for _ in 0..64 {
        let (stream, ..) = stranger.accepted(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
        streams.push(stream);
    }
    let max = Kind::Dispatch.max_bytes();
    let all_but_one = Stranger::frame(Kind::Dispatch as u8, max, &vec![0; max - 1]);
    for stream in &mut streams {
        // A worker that wants no more of them may say so, or not read on.
        let sent = stream.sender.bytes(all_but_one.clone().into());
        let _ = tokio::time::timeout(Duration::from_millis(500), sent).await;
    }
    let more = Stranger::memory_of_its_worker(town).saturating_sub(before);
    for stream in &mut streams {
        stream.reset(ResetCode::Cancelled);
    }
    ensure!(more < 64 << 20, "the worker holds {more} bytes for one requester that has no job");
    stranger.is_free().await
}
