//! Asks for its result from offsets on that are no chunk group's, or past its end.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, commit) = stranger.committed(Stranger::LARGE).await?;
    let (_, length) = Stranger::root(&commit)?;
    let past = length.next_multiple_of(CHUNK_GROUP_BYTES);
    for offset in [1, CHUNK_GROUP_BYTES - 1, CHUNK_GROUP_BYTES + 1, length - 1, past + CHUNK_GROUP_BYTES, u64::MAX] {
        let code = stranger.unverified(&commit, offset).await?;
        ensure!(code == ResetCode::Malformed, "{offset}: reset as {code}");
    }
    let whole = stranger.result(&commit, 0).await?;
    let rest = stranger.result(&commit, 64 * CHUNK_GROUP_BYTES).await?;
    ensure!(whole.ends_with(&rest) && whole.len() as u64 == length, "the rest is another");
    stranger.settle(&mut stream, &commit).await
}
