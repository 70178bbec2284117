//! Commits to the truth, delivers it, and goes on with eight megabytes of something else.
//! loses: what a stream's window holds
//! fates: delivered

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    stream.sender.bytes(call.truth().1.to_vec().into()).await?;
    for _ in 0..8 {
        if stream.sender.bytes(vec![7; 1 << 20].into()).await.is_err() {
            break;
        }
    }
    call.until_reset().await;
    Ok(())
}
