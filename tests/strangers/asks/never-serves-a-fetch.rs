//! Grants an input, takes each Fetch of it and never answers; its owner's job on the same file goes on.
//! loses: one cell, for the second and a half that its Offer asks for

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let victim = Stranger::victim()?;
    let served = stranger.serves_never();
    let task = Stranger::task_on("SELECT count(*) FROM t", vec![Stranger::entry(0, &victim.bytes)]);
    let (mut stream, _) = stranger.run_with(&task, |offer| offer.limits.run_ms = 1500).await?;
    let (code, right) = tokio::join!(Stranger::reset_of(&mut stream), async {
        while served.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        victim.runs(town).await
    });
    right?;
    let code = code?;
    ensure!(code == ResetCode::TimeLimit, "reset as {code}");
    stranger.is_free().await
}
