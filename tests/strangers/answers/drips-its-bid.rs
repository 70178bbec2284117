//! Sends a byte of its Bid every 20 ms.
//! loses: the second for which slow candidates are waited for
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let frame = encode_frame(Kind::Bid, &call.sign(call.good_bid()).to_payload())?;
    for byte in frame {
        if call.stream.sender.bytes(vec![byte].into()).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
