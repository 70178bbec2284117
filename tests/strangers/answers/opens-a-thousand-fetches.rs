//! Opens a thousand streams to the requester, begins a Fetch on each, and leaves them.
//! loses: sixty-four small tasks for ten seconds
//! plan: 4 4
//! input: 1000000
//! sql: SELECT count(*), min(word) FROM t
//! fates: agreed | delivered

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let (mut left, mut refused) = (vec![], 0);
    for n in 0..1_000 {
        let mut stream = call.connection.open().await?;
        stream.sender.bytes(vec![Kind::Sealed as u8].into()).await?;
        if n < 64 {
            left.push(stream);
            continue;
        }
        let got = Call::drain(stream).await?;
        ensure!(got == (0, Some(ResetCode::TooMany)), "{got:?}");
        refused += 1;
        if n % 100 == 0 {
            call.progress().await?;
        }
    }
    ensure!(refused == 936, "{refused} of a thousand were refused");
    // Those that are given up are free again.
    drop(left);
    loop {
        match Call::drain(call.fetch(0, 0, CHUNK_GROUP_BYTES).await?).await? {
            (0, Some(ResetCode::TooMany)) => tokio::task::yield_now().await,
            (_, None) => break,
            other => bail!("{other:?}"),
        }
    }
    call.end_truly().await
}
