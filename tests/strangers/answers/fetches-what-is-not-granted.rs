//! Fetches before it has the task, then without what only its task gives, then what the job has not: another input, another
//! job's, ranges that are none.
//! loses: a small task for each stream
//! plan: 4 4
//! input: 1000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: agreed | delivered

use eider_tests::strangers::*;

const SIZE: u64 = 1_000_000;

async fn refused(stream: JobStream, code: ResetCode) -> Result<()> {
    let got = Call::drain(stream).await?;
    ensure!(got == (0, Some(code)), "{got:?} for {code}");
    Ok(())
}

/// [P-FETCH-1], [P-SEAL-5]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    refused(call.fetch(0, 0, SIZE).await?, ResetCode::Unexpected).await?;
    refused(call.announce(call.id()).await?, ResetCode::NotGranted).await?;
    call.bid().await?;
    call.task().await?;
    call.progress().await?;
    refused(call.announce(OfferId::from_bytes([7; 32])).await?, ResetCode::NotGranted).await?;
    refused(call.announce(call.id()).await?, ResetCode::Unsealed).await?;
    let other = Fetch { offer: OfferId::from_bytes([7; 32]), index: 0, start: 0, end: SIZE };
    refused(call.fetch_by(Kind::Fetch, &other.to_payload()).await?, ResetCode::NotGranted).await?;
    for index in [1, u32::MAX] {
        refused(call.fetch(index, 0, SIZE).await?, ResetCode::NotGranted).await?;
    }
    let group = CHUNK_GROUP_BYTES;
    for (start, end) in [
        (0, 0),
        (group, group),
        (SIZE, SIZE),
        (u64::MAX, u64::MAX),
        (1, group),
        (0, group - 1),
        (2 * group, group),
        (0, SIZE + 1),
        (0, u64::MAX),
        (SIZE, 0),
        (u64::MAX - group + 1, u64::MAX),
    ] {
        refused(call.fetch(0, start, end).await?, ResetCode::Malformed)
            .await
            .with_context(|| format!("{start}..{end}"))?;
    }
    call.end_truly().await
}
