//! Would start in half a billion years.
//! loses: one Bid
//! fates: could start in

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let late = Accept { eta_ms: u64::MAX, price: 0, free_memory: 8 << 30, free_jobs: 8 };
    call.say(Bid { answer: Ok(late), ..call.good_bid() }).await?;
    ensure!(call.task().await.is_err(), "a late worker got the task");
    Ok(())
}
