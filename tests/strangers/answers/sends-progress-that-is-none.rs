//! Says that it works, in rubbish, in a word of a later version, or in a frame that is too large.
//! loses: one execution each
//! strangers: 3
//! plan: 5 3
//! jobs: 2
//! fates: caught: malformed | caught: frame too large | speaks another version | reset: other bids

use eider_tests::strangers::*;

/// [P-FRAME-2], [P-FRAME-3], [P-VER-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let good = Progress { stage: Stage::Running, done: 1, bytes_read: 0 }.to_payload();
    let at = good.windows(7).position(|w| w == b"running").context("no stage")?;
    let later = [&good[..at], b"ripping", &good[at + 7..]].concat();
    let (bytes, code) = match call.number % 3 {
        0 => (encode_frame(Kind::Progress, &[0xff; 256])?, ResetCode::Malformed),
        1 => (vec![Kind::Progress as u8, 0, 0, 1, 1], ResetCode::FrameTooLarge),
        _ => (encode_frame(Kind::Progress, &later)?, ResetCode::Incompatible),
    };
    call.stream.sender.bytes(bytes.into()).await?;
    let got = Stranger::reset_of(&mut call.stream).await?;
    ensure!(got == code || got == ResetCode::QuorumReached, "{got} for {code}");
    Ok(())
}
