//! Has three Bids made and dispatches all of them, and offers more.
//! loses: as many cells as one requester may have: two

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let mut bids = vec![];
    for _ in 0..3 {
        let task = Stranger::task(Stranger::LONG);
        let bid = stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?;
        bids.push((task, bid));
    }
    for (task, (stream, id, bid)) in &mut bids {
        stranger.dispatches(stream, *id, bid, task).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, (mut third, ..)) = bids.pop().context("there are three")?;
    let code = Stranger::refusal(&mut third).await?;
    ensure!(code == ResetCode::OverCapacity, "reset as {code}");
    let reason = stranger.declined(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
    ensure!(reason == DeclineReason::Busy, "{reason:?}");
    for (_, (stream, ..)) in &mut bids {
        stream.reset(ResetCode::Cancelled);
    }
    stranger.is_free().await
}
