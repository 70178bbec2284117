//! Resets the job's stream with a code that no version has.
//! loses: one Offer
//! raw: yes
//! fates: lost: reset by the peer with unknown code

use eider_tests::strangers::*;

/// [P-RESET-3]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let raw = caller.raw().await?;
    let (mut stream, ..) = raw.call().await?;
    stream.send.reset(0xdead_beef_u32.into())?;
    stream.recv.stop(0xdead_beef_u32.into())?;
    // A close of the connection would overtake it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}
