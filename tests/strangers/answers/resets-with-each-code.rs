//! Answers the Offer with a reset, each of them with another code.
//! loses: one Offer each
//! strangers: 31
//! fates: gave up:

use eider_tests::strangers::*;

/// [P-RESET-1]: what a stranger says of the requester blames neither.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    ensure!(ResetCode::ALL.len() <= 31, "more codes than strangers");
    call.stream.reset(ResetCode::ALL[call.number % ResetCode::ALL.len()]);
    // A close of the connection would overtake it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}
