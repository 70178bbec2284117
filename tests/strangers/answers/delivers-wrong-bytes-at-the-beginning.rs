//! Commits to the truth, and delivers a lie from the first group on.
//! loses: 16 KiB, and a round trip to another of the quorum
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: caught: its bytes do not match

use eider_tests::strangers::*;

/// [P-STREAM-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    let mut bytes = call.truth().1.to_vec();
    bytes[0] ^= 1;
    let length = bytes.len() as u64;
    let _ = eider_net::send(&mut stream.sender, &call.source(bytes)?, 0, length, PATIENT).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::WrongBytes, "it was believed");
    Ok(())
}
