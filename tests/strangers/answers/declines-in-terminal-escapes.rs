//! Declines in as many words as are read of a Bid without evidence, all of them orders to a terminal.
//! loses: 8 KiB until the words are cut
//! fates: declined: \u{1b}]0;owned

use eider_tests::strangers::*;

/// The harness looks at what is shown of it.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let detail = "\x1b]0;owned\x07\u{202e}\u{9b}2J\r\n".repeat(300);
    call.say(Bid { answer: Err(Decline { reason: DeclineReason::Unavailable, detail }), ..call.good_bid() }).await?;
    call.until_reset().await;
    Ok(())
}
