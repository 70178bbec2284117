//! Asks a worker with a TPM for new evidence, two hundred times at once; another asks once.
//! loses: two quotes at a time of its TPM, a half second each, for as long as it asks

use eider_tests::strangers::*;
use eider_tests::{Behaviour, Grid, Machine};

/// [P-ATTEST-1]
pub(crate) async fn play(_: &'static Town) -> Result<()> {
    let Some(machine) = Machine::start() else { return Ok(()) };
    let grid = Grid::start(&[Behaviour::Honest], &["--policy", &machine.worker_policy()])?;
    let worker = grid.candidates()[0].clone();
    let demands = |stranger: &Stranger| {
        stranger.offer_with(&Stranger::task("SELECT 1"), |offer| {
            offer.attest = Some(Demand { policy: Hash::from_bytes(offer.nonce), max_age_s: 0 });
        })
    };
    let stranger = Stranger::dial(&worker).await?;
    let mut streams = vec![];
    for connection in [&stranger, &stranger.again(&worker).await?, &stranger.again(&worker).await?] {
        for _ in 0..64 {
            streams.push(connection.says(Stranger::frame_of(&demands(connection)?)).await?);
        }
    }
    let other = Stranger::dial(&worker).await?;
    let (_stream, _, bid) = other.accepted(&demands(&other)?).await?;
    ensure!(bid.evidence.is_some(), "another gets no evidence");
    let (mut shown, mut busy) = (0, 0);
    for stream in &mut streams {
        let frame = stream.receiver.expect_of(&[Kind::Bid]).await?;
        match frame.open::<Bid>(Version::LATEST, stranger.connection.node())?.message() {
            Bid { answer: Ok(_), evidence: Some(_), .. } => shown += 1,
            Bid { answer: Err(decline), .. } if decline.reason == DeclineReason::Busy => busy += 1,
            bid => bail!("{bid:?}"),
        }
        stream.reset(ResetCode::Cancelled);
    }
    ensure!(shown > 0 && busy > 64, "{shown} bids show evidence, {busy} do not");
    Ok(())
}
