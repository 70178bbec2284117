//! Grants an input, and no stream to fetch it on.
//! loses: one cell, for the second and a half that its Offer asks for

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let none = |transport: &mut _| {
        let _: &mut quinn::TransportConfig = transport;
        transport.max_concurrent_bidi_streams(0u32.into());
    };
    let stranger = Stranger::dial_tuned(&town.worker(0), none).await?;
    let task = Stranger::task_on("SELECT count(*) FROM t", vec![Stranger::entry(0, &[b'1'; 100_000])]);
    let (mut stream, _) = stranger.run_with(&task, |offer| offer.limits.run_ms = 1500).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::TimeLimit, "reset as {code}");
    stranger.is_free().await
}
