//! Sends a byte of its Offer every tenth of a second.
//! loses: a small task, for ten seconds

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let mut stream = stranger.says(vec![]).await?;
    for byte in Stranger::frame_of(&offer) {
        match stream.sender.bytes(vec![byte].into()).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(StreamError::Reset(code)) => {
                ensure!(code == ResetCode::Stalled, "reset as {code}");
                return Ok(());
            }
            Err(e) => bail!("{e}"),
        }
    }
    bail!("the worker waited for all of it")
}
