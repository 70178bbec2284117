//! Asks three hundred times for evidence of a worker that has no device.
//! loses: a Bid for each, without evidence

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for _ in 0..300 {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| {
            offer.attest = Some(Demand { policy: Hash::from_bytes(offer.nonce), max_age_s: 0 });
        })?;
        let (mut stream, _, bid) = stranger.accepted(&offer).await?;
        ensure!(bid.evidence.is_none(), "it has evidence");
        stream.reset(ResetCode::Cancelled);
    }
    stranger.is_free().await
}
