//! Commits to the truth, and delivers it but for the last byte.
//! loses: the last group; what came before it is kept
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: caught: its bytes do not match

use eider_tests::strangers::*;

/// [P-STREAM-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    let mut bytes = call.truth().1.to_vec();
    *bytes.last_mut().context("no byte")? ^= 1;
    let length = bytes.len() as u64;
    let _ = eider_net::send(&mut stream.sender, &call.source(bytes)?, 0, length, PATIENT).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::WrongBytes, "it was believed");
    Ok(())
}
