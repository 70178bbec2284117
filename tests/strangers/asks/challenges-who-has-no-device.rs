//! Challenges a worker that has shown no evidence, once and twice, and in the name of another job.
//! loses: the place of a Bid, until then

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for (times, own) in [(1, true), (2, true), (1, false)] {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?;
        let (mut stream, id, _) = stranger.accepted(&offer).await?;
        let offer = if own { id } else { OfferId::from_bytes([7; 32]) };
        for _ in 0..times {
            let challenge = Challenge { offer, credential: vec![1; 68], secret: vec![2; 256] };
            // The second may find the stream reset.
            let _ = stream.sender.send(&stranger.sign(challenge)).await;
        }
        let code = Stranger::refusal(&mut stream).await?;
        let expected = if own { ResetCode::Unexpected } else { ResetCode::WrongPeer };
        ensure!(code == expected, "reset as {code}");
    }
    stranger.is_free().await
}
