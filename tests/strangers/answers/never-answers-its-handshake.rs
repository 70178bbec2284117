//! Is there, and never answers the first packet of a handshake.
//! loses: the second for which silent candidates are waited for
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(caller);
    Ok(())
}
