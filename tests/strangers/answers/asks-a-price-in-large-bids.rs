//! Sixty-four bid dearly, in 256 KiB of rubbish each, so that none of them is ever held; an honest machine bids after them.
//! loses: what fits into their windows; not the place of who bids later
//! strangers: 65
//! plan: 4 4
//! fates: unfit: its bid has | reset: quorum was reached | agreed | delivered

use std::sync::atomic::{AtomicUsize, Ordering};

use eider_tests::strangers::*;

/// The one that bids last, and works honestly: the job needs it.
const LAST: usize = 64;
/// So many of these are all that the bids of one network may take.
const SIZE: usize = 256 << 10;

static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// [P-BID-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    if call.number % (LAST + 1) == LAST {
        for _ in 0..70 {
            if REFUSED.load(Ordering::Relaxed) >= LAST {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        call.bid().await?;
        call.task().await?;
        return call.end_truly().await;
    }
    let dear = Accept { eta_ms: 0, price: 1, free_memory: 8 << 30, free_jobs: 8 };
    let padded = |n: usize| Bid { answer: Ok(dear), evidence: Some(vec![0xa5; n].into()), ..call.good_bid() };
    let about = SIZE / 2;
    let bid = padded(about + SIZE - call.sign(padded(about)).to_payload().len());
    ensure!(call.sign(bid.clone()).to_payload().len() == SIZE, "it must fill the budget to the byte");
    // It is cut off in the middle, or not.
    let _ = call.say(bid).await;
    let refused = call.task().await.is_err();
    REFUSED.fetch_add(1, Ordering::Relaxed);
    ensure!(refused, "a dear worker got the task");
    Ok(())
}
