//! Is eight identities at one address that ask a worker with a TPM for new evidence all the time; one of another network asks ten
//! times.
//! loses: the share of one network of the places before the TPM

use std::sync::Arc;

use eider_tests::strangers::*;
use eider_tests::{Behaviour, Grid, Machine};
use tokio::task::JoinSet;

fn demands(stranger: &Stranger) -> Result<Signed<Offer>> {
    stranger.offer_with(&Stranger::task("SELECT 1"), |offer| {
        offer.attest = Some(Demand { policy: Hash::from_bytes(offer.nonce), max_age_s: 0 });
    })
}

/// Offers again and again; what it gets it does not want.
async fn asks_on(stranger: Arc<Stranger>) -> Result<()> {
    loop {
        let (mut stream, _, bid) = stranger.bid(&demands(&stranger)?).await?;
        stream.reset(ResetCode::Cancelled);
        if bid.answer.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// [P-ATTEST-1]
pub(crate) async fn play(_: &'static Town) -> Result<()> {
    let Some(machine) = Machine::start() else { return Ok(()) };
    let grid = Grid::start(&[Behaviour::Honest], &["--policy", &machine.worker_policy()])?;
    let worker = grid.candidates()[0].clone();
    let mut strangers = JoinSet::new();
    for _ in 0..8 {
        let stranger = Arc::new(Stranger::dial_from([127, 0, 5, 1], &worker).await?);
        for _ in 0..6 {
            strangers.spawn(asks_on(stranger.clone()));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let honest = Stranger::dial(&worker).await?;
    let (mut served, mut last) = (0, None);
    for _ in 0..10 {
        let (mut stream, _, bid) = honest.bid(&demands(&honest)?).await?;
        stream.reset(ResetCode::Cancelled);
        match bid.answer {
            Ok(_) => served += usize::from(bid.evidence.is_some()),
            Err(decline) => last = Some(decline.detail),
        }
    }
    strangers.shutdown().await;
    ensure!(served == 10, "one of another network is served {served} times of ten: {last:?}");
    Ok(())
}
