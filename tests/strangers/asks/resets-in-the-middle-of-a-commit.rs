//! Takes a long Commit in drops and resets the stream after its header, more often than results may be kept.
//! loses: the disk of each result, until the reset

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    // Of a Commit of two records, the first tells what it is.
    let tune = |transport: &mut quinn::TransportConfig| {
        transport.receive_window(64u32.into()).stream_receive_window(64u32.into());
    };
    let stranger = Stranger::dial_tuned(&town.worker(0), tune).await?;
    for i in 0..17 {
        let (mut stream, _) = stranger.run(&Stranger::task(&format!("SELECT error('{i}' || repeat('x', 30000))"))).await?;
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
