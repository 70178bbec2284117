//! Announces an Offer, a Verify and a Dispatch that are a byte longer than any may be.
//! loses: five bytes of each

use eider_tests::strangers::*;

/// [P-FRAME-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for kind in [Kind::Offer, Kind::Verify] {
        let code = stranger.refused(Stranger::frame(kind as u8, kind.max_bytes() + 1, &[])).await?;
        ensure!(code == ResetCode::FrameTooLarge, "{kind}: reset as {code}");
    }
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let (mut stream, ..) = stranger.accepted(&offer).await?;
    let larger = Stranger::frame(Kind::Dispatch as u8, Kind::Dispatch.max_bytes() + 1, &[]);
    stream.sender.bytes(larger.into()).await?;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::FrameTooLarge, "reset as {code}");
    stranger.is_free().await
}
