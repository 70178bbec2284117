//! Has one query after the other fail, and settles none: a failure has no result that would be counted.
//! loses: as many Commits, of 32 KiB at most, as a requester may have results

use eider_tests::strangers::*;

/// Far more than the results that are kept for a requester.
const FAILURES: usize = 48;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (mut pending, mut declined) = (vec![], false);
    for n in 0..FAILURES {
        let task = Stranger::task(&format!("SELECT {n} FROM nothing"));
        let (mut stream, id, bid) = stranger.bid(&stranger.offer_with(&task, |_| {})?).await?;
        if bid.answer.is_err() {
            // Of a requester that has so much unsettled; or, early on, of a worker that just has no room.
            declined = n >= 16;
            if declined {
                break;
            }
            continue;
        }
        stranger.dispatches(&mut stream, id, &bid, &task).await?;
        let commit = stranger.commit(&mut stream).await?;
        ensure!(matches!(commit.outcome, Outcome::Failed { .. }), "{:?}", commit.outcome);
        pending.push((stream, commit));
    }
    // Else the worker must have an end of its own for those, soon.
    let (first, _) = pending.first_mut().context("nothing ran")?;
    let ended = declined || Stranger::refusal(first).await.is_ok();
    let unsettled = pending.len();
    for (stream, commit) in &mut pending {
        let _ = stranger.settle(stream, commit).await;
    }
    ensure!(ended, "{unsettled} failed jobs wait for their Settle, and more are taken");
    stranger.is_free().await
}
