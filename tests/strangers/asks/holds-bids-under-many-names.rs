//! Is 64 identities in one network, each of which lets as many Bids wait as it may: more than a worker holds in all.
//! loses: 1,024 places for Bids that wait, a quarter of all, for as long as the Offers are good

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let mut held = vec![];
    for _ in 0..64 {
        let stranger = Stranger::dial_from([127, 0, 5, 1], &town.worker(0)).await?;
        let mut streams = vec![];
        for _ in 0..64 {
            let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
            streams.push(stranger.says(Stranger::frame_of(&offer)).await?);
        }
        for stream in &mut streams {
            stream.receiver.expect_of(&[Kind::Bid]).await?;
        }
        held.push((stranger, streams));
    }
    let honest = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, _, bid) = honest.bid(&honest.offer_with(&Stranger::task("SELECT 1"), |_| {})?).await?;
    stream.reset(ResetCode::Cancelled);
    for (_, streams) in &mut held {
        for stream in streams {
            stream.reset(ResetCode::Cancelled);
        }
    }
    ensure!(bid.answer.is_ok(), "one of another network is declined: {:?}", bid.answer);
    Ok(())
}
