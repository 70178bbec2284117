//! Fetches on when the job is over.
//! loses: what it might have fetched before
//! plan: 4 4
//! input: 1000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: agreed | delivered

use eider_tests::strangers::*;

/// [P-FETCH-1]: the grant ends with the job.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let (bytes, end) = Call::drain(call.fetch(0, 0, CHUNK_GROUP_BYTES).await?).await?;
    ensure!(bytes > CHUNK_GROUP_BYTES && end.is_none(), "{bytes} bytes, {end:?}");
    call.end_truly().await?;
    loop {
        match Call::drain(call.fetch(0, 0, CHUNK_GROUP_BYTES).await?).await? {
            (_, None) => tokio::time::sleep(Duration::from_millis(20)).await,
            (0, Some(ResetCode::NotGranted)) => return Ok(()),
            other => bail!("{other:?}"),
        }
    }
}
