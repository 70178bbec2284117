//! Resets the stream when it has the task, each time with another code.
//! loses: five executions that are not made, of eight that the job may cause
//! strangers: 5
//! plan: 5 3
//! jobs: 6
//! fates: gave up: | reset: other bids | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.stream.reset(ResetCode::ALL[call.number % ResetCode::ALL.len()]);
    // A close of the connection would overtake it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}
