//! Says on 64 streams that 4 MiB come, and sends a KiB of them.
//! loses: the KiB of each, and the places of 64 Bids, for as long as the Offers are good: three seconds

use eider_tests::strangers::*;

/// [P-FRAME-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let before = Stranger::memory_of_its_worker(town);
    let mut streams = vec![];
    for _ in 0..64 {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| offer.valid_s = 3)?;
        let (mut stream, ..) = stranger.accepted(&offer).await?;
        let claims = Stranger::frame(Kind::Dispatch as u8, Kind::Dispatch.max_bytes(), &[0; 1 << 10]);
        stream.sender.bytes(claims.into()).await?;
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let more = Stranger::memory_of_its_worker(town).saturating_sub(before);
    ensure!(more < 64 << 20, "the worker holds {more} bytes for it");
    for stream in &mut streams {
        let code = Stranger::refusal(stream).await?;
        ensure!(code == ResetCode::Expired, "reset as {code}");
    }
    stranger.is_free().await
}
