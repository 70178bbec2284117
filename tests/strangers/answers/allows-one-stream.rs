//! Commits rightly and first, and lets no second stream be opened, on which it would be asked for the result.
//! loses: the ten seconds in which a stream must be granted
//! streams: 1
//! fates: agreed | lost: the delivery broke off

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let raw = caller.raw().await?;
    let (mut stream, id, offer) = raw.call().await?;
    stream.say(&raw.sign(raw.bid_for(id))).await?;
    raw.task(&mut stream, &offer).await?;
    let outcome = raw.truth().0;
    stream.say(&raw.sign(Commit { offer: id, task: offer.task, price: 0, outcome })).await?;
    while stream.recv.read_chunk(usize::MAX, true).await?.is_some() {}
    Ok(())
}
