//! Opens a thousand streams and resets each, with a byte on it and without.
//! loses: a small task for each, until then

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for i in 0..1000u32 {
        let mut stream = stranger.connection.open().await?;
        if i % 2 == 0 {
            stream.sender.bytes(vec![Kind::Offer as u8].into()).await?;
        }
        stream.reset(ResetCode::Cancelled);
    }
    stranger.is_free().await
}
