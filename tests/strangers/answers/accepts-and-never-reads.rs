//! Makes the handshake, and reads and says nothing.
//! loses: the second for which silent candidates are waited for
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

/// It is silent for longer than the grace; that the job ended before the time for bids was over, its fate shows.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let guest = caller.meet().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    guest.connection.close(ResetCode::JobEnded);
    Ok(())
}
