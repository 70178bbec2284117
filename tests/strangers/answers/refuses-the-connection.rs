//! Refuses everybody who comes.
//! loses: one packet
//! fates: unreachable:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    drop(caller);
    Ok(())
}
