//! Sixty-four never answer the first packet of a handshake; nobody else has a connection yet.
//! loses: the second for which silent candidates are waited for
//! strangers: 64
//! requester: new
//! fates: reset: quorum was reached | unreachable:

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(8)).await;
    drop(caller);
    Ok(())
}
