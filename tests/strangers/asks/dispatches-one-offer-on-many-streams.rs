//! Has one Offer bid on again and again, and dispatches it on each of those streams.
//! loses: one cell, for one job

use eider_tests::strangers::*;

const LONG: &str = "SELECT count(*) FROM range(25000) a, range(25000) b WHERE (a.range * b.range) % 7 = 3";

/// [P-DISPATCH-3]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task(LONG);
    let offer = stranger.sign(stranger.offer(&task)?);
    let mut streams = vec![];
    for _ in 0..16 {
        streams.push(stranger.bid(&offer).await?);
    }
    let mut running = 0;
    for (stream, id, bid) in &mut streams {
        stranger.dispatches(stream, *id, bid, &task).await?;
    }
    for (stream, ..) in &mut streams {
        let first = stream.receiver.frame_of(&[Kind::Progress]).await;
        match first {
            Ok(Some(_)) => running += 1,
            Err(StreamError::Reset(code)) => ensure!(code == ResetCode::Unexpected, "reset as {code}"),
            other => bail!("{other:?}"),
        }
    }
    ensure!(running == 1, "{running} cells run one Offer");
    Ok(())
}
