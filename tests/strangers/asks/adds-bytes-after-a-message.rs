//! Sends an Offer with a byte more in its frame than the message has.
//! loses: a signature

use eider_tests::strangers::*;

/// [P-FRAME-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let payload = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?.to_payload();
    for more in [&b"\0"[..], b"\xf6", &payload] {
        let longer = [&payload, more].concat();
        let code = stranger.refused(Stranger::frame(Kind::Offer as u8, longer.len(), &longer)).await?;
        ensure!(code == ResetCode::Malformed, "reset as {code}");
    }
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let body = stranger.signed_again(&offer, "eider/3 offer", |body| body.push(0))?;
    let code = stranger.refused(Stranger::frame(Kind::Offer as u8, body.len(), &body)).await?;
    ensure!(code == ResetCode::Malformed, "reset as {code}");
    Ok(())
}
