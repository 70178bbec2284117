//! Two agree that the query fails, in words that a terminal would act on, where three must agree.
//! loses: two executions
//! strangers: 2
//! plan: 5 3
//! fates: caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let message = "\x1b]0;owned\x07\u{202e}".repeat(1_000);
    call.commit(Outcome::Failed { kind: FailureKind::Query, message, metering: Metering::default() }).await?;
    call.until_reset().await;
    Ok(())
}
