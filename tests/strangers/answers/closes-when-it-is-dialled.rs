//! Makes the handshake and closes the connection at once.
//! loses: one handshake
//! fates: lost: | unreachable:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let guest = caller.meet().await?;
    guest.connection.close(ResetCode::OverCapacity);
    Ok(())
}
