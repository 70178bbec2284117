//! Commits rightly and first, and then delivers a byte a second.
//! loses: the five seconds after which another of the quorum is asked
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: agreed

use eider_tests::strangers::*;

/// [P-RESET-3]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    for byte in call.truth().1.iter() {
        if stream.sender.bytes(vec![*byte].into()).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    call.until_reset().await;
    Ok(())
}
