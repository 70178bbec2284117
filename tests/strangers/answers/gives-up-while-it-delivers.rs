//! Commits to the truth, delivers a megabyte, and resets the job's stream, finishes it, or is gone.
//! loses: a round trip to another of the quorum, who goes on where it was left
//! jobs: 3
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: gave up: | lost:

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, _, source) = call.first_of_all().await?;
    eider_net::send(&mut stream.sender, &source, 0, 1 << 20, PATIENT).await?;
    match call.number % 3 {
        0 => {
            call.stream.reset(ResetCode::Withdrawn);
            stream.reset(ResetCode::Withdrawn);
        }
        1 => call.stream.sender.finish().await,
        _ => call.connection.close(ResetCode::Withdrawn),
    }
    call.until_reset().await;
    Ok(())
}
