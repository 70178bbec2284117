//! Is not chosen, and goes on as if it were: works, commits, fetches, settles.
//! loses: one Bid
//! input: 100000
//! sql: SELECT count(*), min(word) FROM t
//! fates: asked 1 micro-credits

use eider_tests::strangers::*;

/// [P-FETCH-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let dear = Accept { eta_ms: 0, price: 1, free_memory: 8 << 30, free_jobs: 8 };
    call.say(Bid { answer: Ok(dear), ..call.good_bid() }).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::NotChosen, "it was held");
    for _ in 0..100 {
        let said = (call.progress().await, call.commit_truly().await);
        ensure!(said.0.is_err() && said.1.is_err(), "its stream is still read");
    }
    let got = Call::drain(call.announce(call.id()).await?).await?;
    ensure!(got == (0, Some(ResetCode::NotGranted)), "{got:?}");
    Ok(())
}
