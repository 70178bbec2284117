//! Opens streams to the requester with every kind of frame that does not announce a sealed one, with unknown ones and with rubbish.
//! loses: a small task for each stream
//! fates: reset: quorum was reached

use eider_tests::strangers::*;

async fn answer(call: &Call, bytes: Vec<u8>) -> Result<(u64, Option<ResetCode>)> {
    let mut stream = call.connection.open().await?;
    stream.sender.bytes(bytes.into()).await?;
    stream.sender.finish().await;
    Call::drain(stream).await
}

/// [P-CONN-2], [P-FRAME-2], [P-FRAME-3], [P-FRAME-4]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    for kind in Kind::ALL.iter().filter(|k| **k != Kind::Sealed) {
        let got = answer(&call, encode_frame(*kind, &[0; 16])?).await?;
        ensure!(got == (0, Some(ResetCode::Unexpected)), "{kind}: {got:?}");
    }
    for (bytes, code) in [
        (vec![77, 0, 0, 0, 1, 0], ResetCode::UnknownKind),
        (vec![Kind::Sealed as u8, 0, 0, 1, 1], ResetCode::FrameTooLarge),
        (encode_frame(Kind::Sealed, b"rubbish")?, ResetCode::Malformed),
        (vec![Kind::Sealed as u8, 0, 0], ResetCode::Malformed),
    ] {
        let got = answer(&call, bytes).await?;
        ensure!(got == (0, Some(code)), "{code}: {got:?}");
    }
    call.until_reset().await;
    Ok(())
}
