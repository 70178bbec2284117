//! Dispatches what is for another worker, or of another Offer.
//! loses: the place of a Bid, until the Dispatch

use eider_tests::strangers::*;

/// [P-DISPATCH-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let other = town.worker(1).node.context("workers of the neighbourhood are named")?;
    for for_worker in [true, false] {
        let task = Stranger::task("SELECT 1");
        let (mut stream, id, bid) = stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?;
        let dispatch = match for_worker {
            true => task.seal(id, other, bid.sealing, None)?.0,
            false => task.seal(OfferId::from_bytes([7; 32]), stranger.connection.node(), bid.sealing, None)?.0,
        };
        stream.sender.send(&stranger.sign(dispatch)).await?;
        let code = Stranger::refusal(&mut stream).await?;
        ensure!(code == ResetCode::WrongPeer, "reset as {code}");
    }
    stranger.is_free().await
}
