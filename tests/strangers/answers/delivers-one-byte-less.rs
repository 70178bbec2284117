//! Commits to the truth, delivers it but for the last byte, and finishes the stream.
//! loses: a round trip to another of the quorum
//! fates: lost: the delivery broke off

use eider_tests::strangers::*;

/// A result of one group has no hashes.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    let (_, bytes) = call.truth();
    ensure!(bytes.len() < 16 << 10, "{} bytes are more than one group", bytes.len());
    stream.sender.bytes(bytes[..bytes.len() - 1].to_vec().into()).await?;
    stream.sender.finish().await;
    call.until_reset().await;
    Ok(())
}
