//! Makes the handshake, and lets no stream be opened.
//! loses: the second for which silent candidates are waited for
//! streams: 0
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let raw = caller.raw().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(raw);
    Ok(())
}
