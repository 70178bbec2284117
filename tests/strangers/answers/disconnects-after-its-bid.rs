//! Bids, and is gone.
//! loses: one Bid
//! fates: lost: | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    // So that it leaves before the close, which would overtake it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    call.connection.close(ResetCode::ShuttingDown);
    Ok(())
}
