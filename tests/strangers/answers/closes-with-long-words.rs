//! Closes the connection with a thousand characters that a terminal would act on.
//! loses: one handshake
//! raw: yes
//! fates: lost: | unreachable:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let raw = caller.raw().await?;
    let (stream, ..) = raw.call().await?;
    raw.connection.close(7u32.into(), "\x1b[2J\u{202e}\u{9b}31m\n".repeat(150).as_bytes());
    raw.connection.closed().await;
    drop(stream);
    Ok(())
}
