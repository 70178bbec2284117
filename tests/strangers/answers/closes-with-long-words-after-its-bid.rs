//! Bids, and closes the connection with a thousand characters that a terminal would act on.
//! loses: one Bid
//! raw: yes
//! fates: lost: | unreachable:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let raw = caller.raw().await?;
    let (mut stream, id, _) = raw.call().await?;
    stream.say(&raw.sign(raw.bid_for(id))).await?;
    stream.read().await?;
    raw.connection.close(7u32.into(), "\x1b[2J\u{202e}\u{9b}31m\n".repeat(150).as_bytes());
    Ok(())
}
