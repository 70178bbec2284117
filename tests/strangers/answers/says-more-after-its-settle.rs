//! Sends everything once more when it is settled with, and a receipt at last.
//! loses: the third of a second for which receipts are waited for
//! plan: 4 4
//! fates: agreed | delivered

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.commit_truly().await?;
    let settle = call.settled().await?;
    call.progress().await?;
    call.commit_truly().await?;
    call.say(Response { offer: call.id(), secret: vec![1; 32] }).await?;
    call.say(settle.clone()).await?;
    // It may have stopped to read.
    let _ = call.say(settle).await;
    let _ = call.bid().await;
    call.until_reset().await;
    Ok(())
}
