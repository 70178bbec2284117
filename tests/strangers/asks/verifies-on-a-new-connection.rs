//! Asks for a result on another connection, closes that in the middle of the delivery, and comes again for the rest; then it closes
//! the job's own.
//! loses: the disk of one result, until then

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (_stream, commit) = stranger.committed(Stranger::LARGE).await?;
    let other = stranger.again(&town.worker(0)).await?;
    let mut delivery = other.verify(&commit, 0).await?;
    ensure!(delivery.receiver.bytes().await?.is_some(), "nothing came");
    other.connection.close(ResetCode::Cancelled);
    let later = stranger.again(&town.worker(0)).await?;
    let whole = later.result(&commit, 0).await?;
    ensure!(whole.len() as u64 == Stranger::root(&commit)?.1, "{} bytes came", whole.len());
    let rest = later.result(&commit, CHUNK_GROUP_BYTES).await?;
    ensure!(whole.ends_with(&rest), "the rest is another");
    stranger.connection.close(ResetCode::Cancelled);
    later.is_free().await?;
    let code = later.unverified(&commit, 0).await?;
    ensure!(code == ResetCode::WrongPeer, "a result that nobody wants is refused as {code}");
    Ok(())
}
