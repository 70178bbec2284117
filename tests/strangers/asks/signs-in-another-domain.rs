//! Signs an Offer as another version's, and as a message of another kind.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-SIGN-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let right = stranger.signed_again(&offer, "eider/3 offer", |_| {})?;
    ensure!(right == offer.to_payload(), "this test signs in another way than the protocol");
    for domain in ["eider/2 offer", "eider/3 verify", "eider/3 Offer", ""] {
        let payload = stranger.signed_again(&offer, domain, |_| {})?;
        let code = stranger.refused(Stranger::frame(Kind::Offer as u8, payload.len(), &payload)).await?;
        ensure!(code == ResetCode::BadSignature, "{domain:?}: reset as {code}");
    }
    Ok(())
}
