//! Answers a Commit with an Offer, a Dispatch, a Challenge or a Verify on the job's stream.
//! loses: the job, and its own result

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for way in 0..4 {
        let task = Stranger::task("SELECT 1");
        let offer = stranger.offer_with(&task, |_| {})?;
        let (mut stream, id, bid) = stranger.accepted(&offer).await?;
        let dispatch = stranger.dispatch(id, &bid, &task)?;
        stranger.sends(&mut stream, &dispatch).await?;
        let commit = stranger.commit(&mut stream).await?;
        let (root, _) = Stranger::root(&commit)?;
        let said = match way {
            0 => Stranger::frame_of(&offer),
            1 => Stranger::frame_of(&dispatch),
            2 => Stranger::frame_of(&stranger.sign(Challenge { offer: id, credential: vec![], secret: vec![] })),
            _ => Stranger::frame_of(&stranger.sign(Verify { offer: id, root, offset: 0 })),
        };
        stream.sender.bytes(said.into()).await?;
        let code = Stranger::refusal(&mut stream).await?;
        ensure!(code == ResetCode::Unexpected, "reset as {code}");
        let code = stranger.unverified(&commit, 0).await?;
        ensure!(code == ResetCode::WrongPeer, "its result is refused as {code}");
    }
    stranger.is_free().await
}
