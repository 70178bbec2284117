//! Asks for more memory, result, time and input than any machine has, or for none.
//! loses: a signature of each, and an execution of those that ask for none

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let impossible: [fn(&mut Offer); 4] = [
        |offer| offer.limits.memory = u64::MAX,
        |offer| offer.limits.result = u64::MAX,
        |offer| offer.limits.run_ms = u64::MAX,
        |offer| offer.inputs = InputsSummary { count: u32::MAX, bytes: u64::MAX },
    ];
    for change in impossible {
        let reason = stranger.declined(&stranger.offer_with(&task, change)?).await?;
        ensure!(reason == DeclineReason::TooLarge, "{reason:?}");
    }
    let (mut stream, _) = stranger.run_with(&task, |offer| offer.limits.run_ms = 0).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::TimeLimit, "reset as {code}");
    for (change, kind) in [
        ((|offer| offer.limits.memory = 0) as fn(&mut Offer), FailureKind::Memory),
        (|offer| offer.limits.result = 0, FailureKind::Result),
    ] {
        let (mut stream, _) = stranger.run_with(&task, change).await?;
        let commit = stranger.commit(&mut stream).await?;
        let failed = matches!(&commit.outcome, Outcome::Failed { kind: is, .. } if *is == kind);
        ensure!(failed, "{:?}", commit.outcome);
        stranger.settle(&mut stream, &commit).await?;
    }
    stranger.is_free().await
}
