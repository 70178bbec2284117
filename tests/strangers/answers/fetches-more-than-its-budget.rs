//! Fetches the whole input again and again.
//! loses: twice the input's bytes and a megabyte
//! plan: 4 4
//! input: 1000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: agreed | delivered

use eider_tests::strangers::*;

const SIZE: u64 = 1_000_000;

/// [P-FETCH-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.progress().await?;
    let mut whole = 0;
    loop {
        match Call::drain(call.fetch(0, 0, SIZE).await?).await? {
            (bytes, None) if bytes >= SIZE => whole += 1,
            (0, Some(ResetCode::TooMany)) => break,
            other => bail!("{other:?}"),
        }
        ensure!(whole <= 3, "it is served without end");
    }
    ensure!(whole == 3, "{whole} times");
    // What is asked for by halves counts the same.
    let got = Call::drain(call.fetch(0, 0, 4 * CHUNK_GROUP_BYTES).await?).await?;
    ensure!(got == (0, Some(ResetCode::TooMany)), "{got:?}");
    call.end_truly().await
}
