//! Bids, and is gone.
//! loses: one Bid
//! fates: lost:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    tokio::time::sleep(Duration::from_millis(10)).await;
    call.connection.close(ResetCode::ShuttingDown);
    Ok(())
}
