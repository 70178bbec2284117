//! Bids, and sends Progress of no task as fast as it is taken, until the job is over.
//! loses: the bytes that a window holds, and the time to read them
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let progress = Progress { stage: Stage::Preparing, done: 0, bytes_read: 0 };
    let flood = encode_frame(Kind::Progress, &progress.to_payload())?.repeat(1_000);
    call.bid().await?;
    while call.stream.sender.bytes(flood.clone().into()).await.is_ok() {}
    Ok(())
}
