//! Commits to the truth, and answers the Verify with a reset, each with another code, or with nothing.
//! loses: a round trip to another of the quorum
//! strangers: 2
//! plan: 5 3
//! jobs: 4
//! fates: lost: the delivery broke off | agreed | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    const CODES: [ResetCode; 3] = [ResetCode::NotGranted, ResetCode::WrongBytes, ResetCode::OverCapacity];
    let (mut stream, ..) = call.first_of_all().await?;
    match CODES.get(call.number % 4) {
        Some(code) => stream.reset(*code),
        None => stream.sender.finish().await,
    }
    call.until_reset().await;
    Ok(())
}
