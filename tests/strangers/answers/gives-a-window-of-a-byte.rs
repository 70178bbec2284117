//! Lets one byte be sent to it that it has not read, and reads a byte every 20 ms.
//! loses: the second for which slow candidates are waited for
//! window: 1
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let raw = caller.raw().await?;
    let (_send, mut recv) = raw.connection.accept_bi().await?;
    let mut byte = [0];
    while let Ok(Some(_)) = recv.read(&mut byte).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
