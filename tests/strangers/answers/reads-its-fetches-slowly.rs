//! Asks for an input on fifteen streams, and reads one of them a record every six seconds.
//! loses: fifteen times a piece of the file in memory, for twenty seconds
//! input: 4000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

/// [P-RESET-3]: it is cut off, and not to blame.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let mut streams = vec![];
    for n in 0..15 {
        streams.push(call.fetch(0, n * 16 * CHUNK_GROUP_BYTES, (n + 1) * 16 * CHUNK_GROUP_BYTES).await?);
    }
    let ended = loop {
        match streams[0].receiver.bytes().await {
            Ok(Some(_)) => tokio::time::sleep(Duration::from_secs(6)).await,
            Ok(None) => bail!("all of it came"),
            Err(StreamError::Reset(code)) => break code,
            Err(e) => return Err(e.into()),
        }
    };
    ensure!(matches!(ended, ResetCode::Stalled | ResetCode::JobEnded), "reset as {ended}");
    Ok(())
}
