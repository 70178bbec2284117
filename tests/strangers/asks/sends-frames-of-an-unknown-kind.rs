//! Begins streams with kinds of frame that there are not, and says one in the middle of a job.
//! loses: five bytes of each, and the job

use eider_tests::strangers::*;

/// [P-VER-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for kind in [0, 14, 15, 127, 255] {
        let code = stranger.refused(Stranger::frame(kind, 100, &[0; 100])).await?;
        ensure!(code == ResetCode::UnknownKind && code.fault() == Fault::None, "{kind}: reset as {code}");
    }
    let (mut stream, _) = stranger.run(&Stranger::task(Stranger::LONG)).await?;
    stream.sender.bytes(Stranger::frame(200, 0, &[]).into()).await?;
    let code = Stranger::reset_of(&mut stream).await?;
    ensure!(code == ResetCode::UnknownKind, "reset as {code}");
    stranger.is_free().await
}
