//! Asks for a whole input as often as it may, and resets each stream at its first bytes.
//! loses: what a window holds of each
//! plan: 4 4
//! input: 4000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: agreed | delivered

use eider_tests::strangers::*;

/// [P-FETCH-1]: the budget is of what was asked for.
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    call.progress().await?;
    for _ in 0..2 {
        let mut stream = call.fetch(0, 0, 4_000_000).await?;
        ensure!(stream.receiver.bytes().await?.is_some(), "nothing came");
        stream.reset(ResetCode::Cancelled);
    }
    let got = Call::drain(call.fetch(0, 0, 4_000_000).await?).await?;
    ensure!(got == (0, Some(ResetCode::TooMany)), "{got:?}");
    call.end_truly().await
}
