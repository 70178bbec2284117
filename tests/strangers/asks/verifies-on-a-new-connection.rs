//! Closes its connection after a Commit, in the middle of a delivery, and comes again for the rest.
//! loses: the disk of one result, for ten minutes

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (_stream, commit) = stranger.committed(Stranger::LARGE).await?;
    let mut delivery = stranger.verify(&commit, 0).await?;
    ensure!(delivery.receiver.bytes().await?.is_some(), "nothing came");
    stranger.connection.close(ResetCode::Cancelled);
    let later = stranger.again(&town.worker(0)).await?;
    let whole = later.result(&commit, 0).await?;
    ensure!(whole.len() as u64 == Stranger::root(&commit)?.1, "{} bytes came", whole.len());
    let rest = later.result(&commit, CHUNK_GROUP_BYTES).await?;
    ensure!(whole.ends_with(&rest), "the rest is another");
    later.is_free().await
}
