//! Asks for its result under the root of another.
//! loses: a signature

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, commit) = stranger.committed("SELECT 42").await?;
    let verify = Verify { offer: commit.offer, root: Hash::from_bytes([9; 32]), offset: 0 };
    let code = Stranger::refusal(&mut stranger.verify_by(verify).await?).await?;
    ensure!(code == ResetCode::Malformed, "reset as {code}");
    ensure!(!stranger.result(&commit, 0).await?.is_empty(), "the right one is refused then");
    stranger.settle(&mut stream, &commit).await
}
