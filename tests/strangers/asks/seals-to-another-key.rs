//! Seals its task to a key that is not the worker's, to no key, or ties it to evidence that there is not.
//! loses: the place of a Bid, until the Dispatch

use eider_tests::strangers::*;

/// [P-SEAL-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let another = SealingKey::generate().map_err(|e| anyhow::Error::msg(e.to_string()))?.public();
    for way in 0..3 {
        let task = Stranger::task("SELECT 1");
        let (mut stream, id, bid) = stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?;
        let node = stranger.connection.node();
        let mut dispatch = match way {
            0 => task.seal(id, node, another, None)?.0,
            1 => task.seal(id, node, bid.sealing, Some(task.hash()))?.0,
            _ => task.seal(id, node, bid.sealing, None)?.0,
        };
        if way == 2 {
            dispatch.enc = [0; 32];
        }
        stream.sender.send(&stranger.sign(dispatch)).await?;
        let code = Stranger::refusal(&mut stream).await?;
        ensure!(code == ResetCode::Malformed, "{way}: reset as {code}");
    }
    stranger.is_free().await
}
