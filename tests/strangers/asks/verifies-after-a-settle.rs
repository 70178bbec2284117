//! Asks for a result that it has settled.
//! loses: a signature

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, commit) = stranger.committed("SELECT 42").await?;
    stranger.settle(&mut stream, &commit).await?;
    let code = stranger.unverified(&commit, 0).await?;
    ensure!(code == ResetCode::WrongPeer, "reset as {code}");
    Ok(())
}
