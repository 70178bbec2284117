//! Two take the task and send Progress as fast as it is taken.
//! loses: the bytes that two wide windows hold, and the time to read them
//! strangers: 2
//! plan: 5 3
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let progress = Progress { stage: Stage::Running, done: u32::MAX, bytes_read: u64::MAX };
    let flood = encode_frame(Kind::Progress, &progress.to_payload())?.repeat(1_000);
    while call.stream.sender.bytes(flood.clone().into()).await.is_ok() {}
    Ok(())
}
