//! Asks sixteen times for a result of some MB, and reads none of it but the last.
//! loses: one delivery at a time, and what the windows of one connection hold: 16 MiB

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let (mut stream, commit) = stranger.committed(Stranger::LARGE).await?;
    let before = Stranger::memory_of_its_worker(town);
    let mut deliveries = vec![];
    for _ in 0..16 {
        deliveries.push(stranger.verify(&commit, 0).await?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let more = Stranger::memory_of_its_worker(town).saturating_sub(before);
    ensure!(more < 64 << 20, "the worker holds {more} bytes for it");
    let last = deliveries.pop().context("there are sixteen")?;
    for delivery in &mut deliveries {
        let code = Stranger::ended(delivery).await?;
        ensure!(code == ResetCode::NotChosen, "reset as {code}");
    }
    let bytes = Stranger::read(last, &commit, 0).await?;
    ensure!(bytes.len() as u64 == Stranger::root(&commit)?.1, "{} bytes came", bytes.len());
    stranger.settle(&mut stream, &commit).await
}
