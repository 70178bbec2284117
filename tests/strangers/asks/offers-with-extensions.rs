//! Sends Offers with extensions that nobody knows, and with more of them than there may be.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-VER-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let with = |count: usize, bytes: usize| -> Result<_> {
        let extensions = (0..count).map(|i| (format!("x{i}"), vec![7; bytes].into())).collect();
        let offer = stranger.offer(&Stranger::task("SELECT 1"))?;
        Ok(Signed::sign_with(&stranger.identity, Version::LATEST, offer, extensions))
    };
    for (count, bytes) in [(1, 0), (16, 32), (1, 900)] {
        let (mut stream, ..) = stranger.accepted(&with(count, bytes)?).await?;
        stream.reset(ResetCode::Cancelled);
    }
    for (count, bytes) in [(17, 1), (1, 1 << 10), (16, 100)] {
        let code = stranger.refused(Stranger::frame_of(&with(count, bytes)?)).await?;
        ensure!(code == ResetCode::Malformed, "{count} of {bytes} bytes: reset as {code}");
    }
    stranger.is_free().await
}
