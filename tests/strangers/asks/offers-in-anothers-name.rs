//! Sends an Offer that somebody else has signed, and one that it has signed for somebody else.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-OFFER-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let other = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let signed_by_other = other.offer_with(&task, |_| {})?;
    let for_other = stranger.offer_with(&task, |offer| offer.requester = other.identity.node_id())?;
    for offer in [&signed_by_other, &for_other] {
        let code = stranger.refused(Stranger::frame_of(offer)).await?;
        ensure!(code == ResetCode::WrongPeer, "reset as {code}");
    }
    let (mut stream, ..) = other.accepted(&signed_by_other).await?;
    stream.reset(ResetCode::Cancelled);
    other.is_free().await
}
