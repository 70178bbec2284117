//! Dispatches a manifest of ten thousand inputs of one byte, each another, of which it has none.
//! loses: the memory of the manifest while the job runs, and no descriptor

use eider_tests::process;
use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let served = stranger.serves_wrong_bytes(vec![vec![0]; InputEntry::MAX]);
    let inputs = |n: usize| InputEntry { hash: Stranger::task("").hash(), ..Stranger::entry(n, b"1") };
    let open = || process::descriptors(town.grid.pid(0)).len();
    let before = open();
    for sql in ["SELECT 42", "SELECT count(*) FROM t"] {
        let task = Stranger::task_on(sql, (0..InputEntry::MAX).map(inputs).collect());
        let (mut stream, _) = stranger.run(&task).await?;
        let mut most = before;
        let ended = async {
            match stranger.commit(&mut stream).await {
                Ok(commit) => stranger.settle(&mut stream, &commit).await,
                Err(e) => match e.downcast_ref::<StreamError>() {
                    Some(StreamError::Reset(ResetCode::InputUnavailable)) => Ok(()),
                    _ => Err(e),
                },
            }
        };
        let watched = async {
            loop {
                most = most.max(open());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = ended => ended?,
            () = watched => {}
        }
        ensure!(most < before + 100, "{most} descriptors were open, and {before} before");
    }
    ensure!(served.asked() < 100, "{} fetches came", served.asked());
    stranger.is_free().await
}
