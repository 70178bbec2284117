//! Nine bid with a sealing key of zeros, to which nothing can be sealed.
//! loses: nine Bids; no execution, for none is made
//! strangers: 9
//! plan: 3 2
//! jobs: 4
//! fates: caught: malformed message (its sealing key is none) | reset: other bids

use eider_tests::strangers::*;

/// [P-SEAL-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.say(Bid { sealing: [0; 32], ..call.good_bid() }).await?;
    ensure!(call.task().await.is_err(), "it got the task in the clear");
    Ok(())
}
