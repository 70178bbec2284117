//! Speaks a version of the protocol that is not known yet.
//! loses: one handshake
//! alpn: eider/99
//! fates: speaks another version

use eider_tests::strangers::*;

/// [P-VER-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    ensure!(caller.raw().await.is_err(), "there is a connection without a version");
    Ok(())
}
