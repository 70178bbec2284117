//! Passes on a Bid that another node has signed.
//! loses: one Bid
//! fates: caught: message of or for another node

use eider_tests::strangers::*;

/// [P-SIGN-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let other = Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?;
    let bid = Signed::sign(&other, Version::LATEST, call.good_bid());
    call.stream.sender.send(&bid).await?;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::WrongPeer, "it was held");
    Ok(())
}
