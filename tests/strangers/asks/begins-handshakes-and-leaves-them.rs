//! Begins five hundred handshakes and ends none.
//! loses: 64 handshakes under way at a time, for ten seconds at most

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let identity = Stranger::identity()?;
    let stranger = Stranger::dial_from([127, 0, 9, 1], &town.worker(0)).await?;
    let address = town.worker(0).address.parse()?;
    for i in 0..500 {
        let begun = stranger.endpoint.connect(address, Some(identity.node_id()));
        let _ = tokio::time::timeout(Duration::from_micros(50 * (i % 20)), begun).await;
    }
    Stranger::dial(&town.worker(0)).await?.is_free().await
}
