//! Says on 64 streams that 4 MiB come, and sends a KiB of them.
//! loses: four places for large Dispatches, and the KiB of each, for twenty seconds

use eider_tests::strangers::*;

/// [P-FRAME-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let before = Stranger::memory_of_its_worker(town);
    let mut streams = vec![];
    for _ in 0..64 {
        let (mut stream, ..) = stranger.accepted(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
        let claims = Stranger::frame(Kind::Dispatch as u8, Kind::Dispatch.max_bytes(), &[0; 1 << 10]);
        stream.sender.bytes(claims.into()).await?;
        streams.push(stream);
    }
    let mut refused = 0;
    for stream in &mut streams {
        // Who has a place is waited for.
        if let Ok(code) = tokio::time::timeout(Duration::from_millis(50), Stranger::refusal(stream)).await {
            let code = code?;
            ensure!(code == ResetCode::OverCapacity, "reset as {code}");
            refused += 1;
        }
        stream.reset(ResetCode::Cancelled);
    }
    ensure!(refused >= 60, "{refused} large dispatches were refused");
    let more = Stranger::memory_of_its_worker(town).saturating_sub(before);
    ensure!(more < 64 << 20, "the worker holds {more} bytes for it");
    stranger.is_free().await
}
