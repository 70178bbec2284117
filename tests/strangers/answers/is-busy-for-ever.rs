//! Two of five say that they are busy whenever they are asked.
//! loses: an Offer each time; the half minute for which busy candidates are asked again, if they are needed
//! strangers: 2
//! plan: 5 3
//! fates: declined: | reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    loop {
        let decline = Decline { reason: DeclineReason::Busy, detail: "\u{202e}later".into() };
        call.say(Bid { answer: Err(decline), ..call.good_bid() }).await?;
        match tokio::time::timeout(Duration::from_secs(1), call.again()).await {
            Ok(Ok(again)) => call = again,
            _ => return Ok(()),
        }
    }
}
