//! Claims a Bid of 8 KiB, the largest that is of use, and sends no byte of it.
//! loses: the second for which silent candidates are waited for, and no memory for what was claimed
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

/// [P-FRAME-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.stream.sender.bytes(vec![Kind::Bid as u8, 0, 0, 0x20, 0].into()).await?;
    call.until_reset().await;
    Ok(())
}
