//! Makes forty connections under one identity.
//! loses: sixteen connections, for as long as they stand

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let mut all = vec![];
    for _ in 0..39 {
        all.push(stranger.again(&town.worker(0)).await?);
    }
    let mut standing = 1;
    for one in &all {
        match tokio::time::timeout(Duration::from_millis(100), one.connection.closed()).await {
            Ok(why) => ensure!(why.contains(&ResetCode::TooMany.to_string()), "closed: {why}"),
            Err(_) => standing += 1,
        }
    }
    ensure!(standing == 16, "{standing} connections stand");
    for one in &all {
        one.connection.close(ResetCode::Cancelled);
    }
    stranger.is_free().await
}
