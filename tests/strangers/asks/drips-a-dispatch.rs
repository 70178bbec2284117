//! Sends a few bytes of a Dispatch of 4 MiB every hundredth of a second.
//! loses: the places of one Bid and of one large Dispatch, and the bytes that come, for twenty seconds

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
    let (mut stream, ..) = stranger.accepted(&offer).await?;
    let max = Kind::Dispatch.max_bytes();
    stream.sender.bytes(Stranger::frame(Kind::Dispatch as u8, max, &[]).into()).await?;
    for _ in 0..max / 64 {
        match stream.sender.bytes(vec![0; 64].into()).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(StreamError::Reset(code)) => {
                ensure!(code == ResetCode::Stalled && code.fault() == Fault::None, "reset as {code}");
                return stranger.is_free().await;
            }
            Err(e) => bail!("{e}"),
        }
    }
    bail!("the worker waited for all of it")
}
