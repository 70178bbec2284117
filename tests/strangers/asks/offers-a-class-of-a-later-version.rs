//! Sends Offers with a class of data, and with a field, that this version does not know.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-VER-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    for (from, to) in [(b"fpublic", b"fpublik"), (b"eclassf", b"eklassf")] {
        let payload = stranger.signed_again(&offer, "eider/3 offer", |body| {
            if let Some(at) = body.windows(from.len()).position(|w| w == from) {
                body[at..at + to.len()].copy_from_slice(to);
            }
        })?;
        ensure!(payload != offer.to_payload(), "nothing was changed");
        let code = stranger.refused(Stranger::frame(Kind::Offer as u8, payload.len(), &payload)).await?;
        ensure!(code == ResetCode::Incompatible && code.fault() == Fault::None, "reset as {code}");
    }
    Ok(())
}
