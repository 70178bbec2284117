//! Asks for the rest of a result of which it says that it has all: the rest is nothing, and then the stream's end.
//! loses: a signature

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    // A result whose length is a multiple of a chunk group's: a text of the right length, in a result of one column.
    let (mut text, wanted) = (16_000, 2 * CHUNK_GROUP_BYTES);
    for _ in 0..8 {
        let (mut stream, commit) = stranger.committed(&format!("SELECT repeat('x', {text}) AS x")).await?;
        let (_, length) = Stranger::root(&commit)?;
        if length != wanted {
            text = (text + wanted).saturating_sub(length);
            stranger.settle(&mut stream, &commit).await?;
            continue;
        }
        let mut delivery = stranger.verify(&commit, length).await?;
        let end = delivery.receiver.bytes().await;
        stranger.settle(&mut stream, &commit).await?;
        ensure!(matches!(end, Ok(None)), "{end:?}");
        return Ok(());
    }
    bail!("no result of {wanted} bytes came about")
}
