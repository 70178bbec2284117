//! Answers at two addresses under one key, to have two votes.
//! loses: one handshake
//! strangers: 2
//! keys: 1
//! fates: the same node as another candidate | caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let guest = caller.meet().await?;
    // Only one of both is asked.
    let Ok(call) = tokio::time::timeout(Duration::from_secs(2), guest.call()).await else { return Ok(()) };
    let mut call = call?;
    call.bid().await?;
    call.task().await?;
    call.commit(call.lie()).await?;
    call.until_reset().await;
    Ok(())
}
