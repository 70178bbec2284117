//! Says that it is busy, goes on to talk on that stream, and works honestly when it is asked again; all four must agree.
//! loses: the time until it is asked again
//! plan: 4 4
//! fates: agreed | delivered

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let decline = Decline { reason: DeclineReason::Busy, detail: "later".into() };
    call.say(Bid { answer: Err(decline), ..call.good_bid() }).await?;
    // Nobody listens here any more.
    let _ = call.bid().await;
    let _ = call.commit(call.lie()).await;
    let mut call = call.again().await?;
    call.bid().await?;
    call.task().await?;
    call.commit_truly().await?;
    tokio::select! {
        // If it is the first, it is asked for the result.
        asked = call.verified() => {
            let (mut stream, verify, source) = asked?;
            let length = call.truth().1.len() as u64;
            eider_net::send(&mut stream.sender, &source, verify.offset, length, PATIENT).await?;
            stream.sender.finish();
        }
        () = tokio::time::sleep(Duration::from_secs(2)) => {}
    }
    call.until_reset().await;
    Ok(())
}
