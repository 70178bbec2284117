//! Opens streams to the requester with every kind of frame that neither announces a sealed one nor asks for an engine, with unknown ones, with
//! rubbish, and for an engine that it has not.
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
    for kind in Kind::ALL.iter().filter(|k| !matches!(k, Kind::Sealed | Kind::Engine)) {
        let got = answer(&call, encode_frame(*kind, &[0; 16])?).await?;
        ensure!(got == (0, Some(ResetCode::Unexpected)), "{kind}: {got:?}");
    }
    let wanted = EngineFetch { engine: Hash::from_bytes([1; 32]), part: EnginePart::Bundle };
    for (bytes, code) in [
        (vec![77, 0, 0, 0, 1, 0], ResetCode::UnknownKind),
        (vec![Kind::Sealed as u8, 0, 0, 1, 1], ResetCode::FrameTooLarge),
        (encode_frame(Kind::Sealed, b"rubbish")?, ResetCode::Malformed),
        (vec![Kind::Sealed as u8, 0, 0], ResetCode::Malformed),
        (vec![Kind::Engine as u8, 0, 0, 1, 1], ResetCode::FrameTooLarge),
        (encode_frame(Kind::Engine, b"rubbish")?, ResetCode::Malformed),
        (encode_frame(Kind::Engine, &wanted.to_payload())?, ResetCode::NotGranted),
    ] {
        let got = answer(&call, bytes).await?;
        ensure!(got == (0, Some(code)), "{code}: {got:?}");
    }
    call.until_reset().await;
    Ok(())
}
