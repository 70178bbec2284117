//! Commits to the truth, delivers a megabyte of it, and says nothing more.
//! loses: the five seconds after which another of the quorum goes on
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: agreed

use eider_tests::strangers::*;

/// [P-STREAM-2], [P-RESET-3]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, _, source) = call.first_of_all().await?;
    eider_net::send(&mut stream.sender, &source, 0, 1 << 20, PATIENT).await?;
    call.settled().await?;
    Ok(())
}
