//! Ends the stream of its Offer after each of its bytes; then cuts the Offer there and says so in the header.
//! loses: what is left of some nine hundred Offers

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let (frame, payload) = (Stranger::frame_of(&offer), offer.to_payload());
    for cut in 0..frame.len() {
        let code = stranger.refused(frame[..cut].to_vec()).await?;
        ensure!(code == ResetCode::Malformed, "the stream, at {cut}: reset as {code}");
    }
    for cut in 0..payload.len() {
        let code = stranger.refused(Stranger::frame(Kind::Offer as u8, cut, &payload[..cut])).await?;
        ensure!(code == ResetCode::Malformed, "the message, at {cut}: reset as {code}");
    }
    stranger.is_free().await
}
