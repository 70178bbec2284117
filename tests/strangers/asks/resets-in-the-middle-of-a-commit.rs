//! Takes a Commit a byte at a time and resets the stream after its header, more often than results may be kept.
//! loses: the disk of each result, until the reset

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial_with_a_window_of_one_byte(&town.worker(0)).await?;
    for i in 0..17 {
        let (mut stream, _) = stranger.run(&Stranger::task(&format!("SELECT {i}"))).await?;
        let header = loop {
            match stream.receiver.frame_of(&[Kind::Progress]).await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        ensure!(matches!(header, Err(StreamError::Unexpected(Kind::Commit))), "{header:?}");
        stream.reset(ResetCode::QuorumReached);
        stranger.is_free().await?;
    }
    Ok(())
}
