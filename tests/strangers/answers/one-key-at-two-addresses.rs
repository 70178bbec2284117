//! Answers at two addresses under one key, to have two votes.
//! loses: one handshake
//! strangers: 2
//! keys: 1
//! fates: the same node as another candidate | caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.commit(call.lie()).await?;
    call.until_reset().await;
    Ok(())
}
