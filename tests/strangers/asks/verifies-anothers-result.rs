//! Asks for a result that was made for another, with the key that only its owner has.
//! loses: a signature

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let owner = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, commit) = owner.committed("SELECT 42").await?;
    let mut stolen = stranger.connection.open().await?;
    stolen.ask(&owner.secret(commit.offer)?, Lane::Verify)?;
    let verify = Verify { offer: commit.offer, root: Stranger::root(&commit)?.0, offset: 0 };
    stolen.sender.send(&stranger.sign(verify)).await?;
    let code = Stranger::refusal(&mut stolen).await?;
    ensure!(code == ResetCode::WrongPeer, "reset as {code}");
    ensure!(!owner.result(&commit, 0).await?.is_empty(), "its owner gets nothing");
    owner.settle(&mut stream, &commit).await
}
