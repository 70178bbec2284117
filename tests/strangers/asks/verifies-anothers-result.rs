//! Asks for a result that was made for another.
//! loses: a signature

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let owner = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, commit) = owner.committed("SELECT 42").await?;
    let code = stranger.unverified(&commit, 0).await?;
    ensure!(code == ResetCode::WrongPeer, "reset as {code}");
    ensure!(!owner.result(&commit, 0).await?.is_empty(), "its owner gets nothing");
    owner.settle(&mut stream, &commit).await
}
