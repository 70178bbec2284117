//! Answers with a kind of frame that only a later version knows.
//! loses: five bytes of a frame
//! fates: speaks another version

use eider_tests::strangers::*;

/// [P-VER-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.stream.sender.bytes(vec![77, 0, 0, 0, 1, 0].into()).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::UnknownKind, "it was understood");
    Ok(())
}
