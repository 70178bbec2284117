//! Says on many streams that a Dispatch of 4 MiB comes; one of another network comes with one of a tenth of a MiB.
//! loses: four places for large Dispatches, which is the share of its network, for twenty seconds

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial_from([127, 0, 5, 1], &town.worker(0)).await?;
    let mut streams = vec![];
    for _ in 0..32 {
        let (mut stream, ..) = stranger.accepted(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
        let claims = Stranger::frame(Kind::Dispatch as u8, Kind::Dispatch.max_bytes(), &[]);
        stream.sender.bytes(claims.into()).await?;
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let honest = Stranger::dial(&town.worker(0)).await?;
    let (mut job, _) = honest.run(&Stranger::task(&format!("SELECT 1 -- {}", "x".repeat(100 << 10)))).await?;
    let commit = honest.commit(&mut job).await;
    for stream in &mut streams {
        stream.reset(ResetCode::Cancelled);
    }
    honest.settle(&mut job, &commit.context("another's large dispatch")?).await?;
    stranger.is_free().await
}
