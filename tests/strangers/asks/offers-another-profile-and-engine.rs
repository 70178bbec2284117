//! Asks for an engine, a profile and a class of data that the worker does not serve, in long words.
//! loses: a signature of each

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    type Change = (fn(&mut Offer), DeclineReason);
    let changes: [Change; 4] = [
        (|offer| offer.engine = Hash::from_bytes([1; 32]), DeclineReason::Engine),
        (|offer| offer.profile = "\u{1b}[2J".repeat(500), DeclineReason::Profile),
        (|offer| offer.profile = String::new(), DeclineReason::Profile),
        (|offer| offer.class = DataClass::Sensitive, DeclineReason::DataClass),
    ];
    for (change, expected) in changes {
        let (_stream, _, bid) = stranger.bid(&stranger.offer_with(&task, change)?).await?;
        let Err(decline) = bid.answer else { bail!("the bid is in favour") };
        ensure!(decline.reason == expected, "{:?} and not {expected:?}", decline.reason);
        ensure!(decline.detail.len() < 1000 && decline.detail.chars().all(is_printable), "{:?}", decline.detail);
    }
    Ok(())
}
