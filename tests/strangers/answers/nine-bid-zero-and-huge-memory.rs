//! Nine bid for nothing, claim more memory than there is, and commit to nine lies.
//! loses: five executions; the job if more than three of them go to liars, which no claim makes more likely
//! strangers: 9
//! plan: 3 2
//! jobs: 4
//! ends: verified | no-quorum | executions-spent
//! fates: caught: its commit disagrees | reset: other bids | reset: the job is over | reset: quorum was reached

use eider_tests::strangers::*;

/// [P-OFFER-3]: whatever seats are drawn, no lie is verified.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let huge = Accept { eta_ms: 0, price: 0, free_memory: u64::MAX, free_jobs: u32::MAX };
    call.say(Bid { answer: Ok(huge), ..call.good_bid() }).await?;
    call.task().await?;
    call.commit(call.lie_number(call.number)).await?;
    call.until_reset().await;
    Ok(())
}
