//! Makes three hundred connections from one network, each under an identity of its own.
//! loses: 256 connections, for as long as they stand; none of another network

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let mut standing = vec![];
    for _ in 0..300 {
        if let Ok(stranger) = Stranger::dial_from([127, 0, 7, 1], &town.worker(0)).await {
            standing.push(stranger);
        }
    }
    ensure!(standing.len() == 256, "{} connections stand", standing.len());
    Stranger::dial(&town.worker(0)).await?.is_free().await
}
