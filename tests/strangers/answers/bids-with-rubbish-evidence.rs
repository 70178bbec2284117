//! Bids with as much rubbish for evidence as a Bid can hold, where none is wanted.
//! loses: 320 KiB until the job ends
//! fates: caught: its commit disagrees

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let rubbish = vec![0xa5; (320 << 10) - 1_024];
    let hash: Hash = blake3::hash(&rubbish).into();
    call.say(Bid { evidence: Some(rubbish.into()), ..call.good_bid() }).await?;
    call.task_for(Some(hash)).await?;
    call.commit(call.lie()).await?;
    call.until_reset().await;
    Ok(())
}
