//! Asks for all the money that there is, where the job pays nothing.
//! loses: one Bid
//! fates: asked 18446744073709551615

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let dear = Accept { eta_ms: 0, price: u64::MAX, free_memory: 8 << 30, free_jobs: 8 };
    call.say(Bid { answer: Ok(dear), ..call.good_bid() }).await?;
    ensure!(call.task().await.is_err(), "a dear worker got the task");
    Ok(())
}
