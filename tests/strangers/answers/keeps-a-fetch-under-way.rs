//! Begins to fetch an input while it has the task, and takes it when the job is over.
//! loses: what its windows hold; the grant ends with the job, and with it what is under way
//! plan: 4 4
//! input: 12000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: agreed | delivered

use eider_tests::strangers::*;

const SIZE: u64 = 12_000_000;

/// [P-FETCH-1]: the grant, the job's inputs and their open files are the requester's again.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    // So that eight unread megabytes of this stream leave room for the others.
    let _wide = call.connection.widen();
    let under_way = call.fetch(0, 0, SIZE).await?;
    call.end_truly().await?;
    loop {
        match Call::drain(call.fetch(0, 0, CHUNK_GROUP_BYTES).await?).await? {
            (_, None) => tokio::time::sleep(Duration::from_millis(20)).await,
            (0, Some(ResetCode::NotGranted)) => break,
            other => bail!("{other:?}"),
        }
    }
    // Nothing is granted any more, and yet:
    let (bytes, end) = Call::drain(under_way).await?;
    ensure!(end.is_some(), "all {bytes} bytes were served, most of them after the job's end");
    Ok(())
}
