//! Bids, and sends Progress of no task, in clear, as fast as it is taken.
//! loses: the bytes that a window holds, and the time to read them
//! fates: caught: message out of order | lost: it is not sealed

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let progress = Progress { stage: Stage::Preparing, done: 0, bytes_read: 0 };
    let flood = encode_frame(Kind::Progress, &progress.to_payload())?.repeat(1_000);
    call.bid().await?;
    while call.stream.sender.bytes(flood.clone().into()).await.is_ok() {}
    Ok(())
}
