//! Finishes the stream in its Commit, each of a hundred at another byte, four times.
//! loses: one execution each, where the job may cause four hundred
//! strangers: 100
//! plan: 3 2
//! executions: 400
//! jobs: 4
//! fates: caught: malformed message (the stream ended early) | lost: it ended the stream | reset: other bids | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let frame = encode_frame(Kind::Commit, &call.sign(call.commit_to(call.truth().0)).to_payload())?;
    let cut = call.number % frame.len();
    call.bid().await?;
    call.task().await?;
    call.stream.sender.bytes(frame[..cut].to_vec().into()).await?;
    call.stream.sender.finish().await;
    call.until_reset().await;
    Ok(())
}
