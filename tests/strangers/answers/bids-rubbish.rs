//! Bids in what is no CBOR, in CBOR that is no Bid, with something after it, and with a signature that is none.
//! loses: one frame each
//! strangers: 5
//! fates: caught: malformed message | caught: bad signature

use eider_tests::strangers::*;

/// [P-FRAME-3], [P-SIGN-1], [P-SIGN-2]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let good = call.sign(call.good_bid()).to_payload();
    let (payload, code) = match call.number % 5 {
        0 => (vec![0xff; 64], ResetCode::Malformed),
        1 => (call.envelope(Kind::Bid, &[0x01]), ResetCode::Malformed),
        2 => ([&good[..], &[0]].concat(), ResetCode::Malformed),
        3 => (call.envelope(Kind::Commit, body_of(&good)?), ResetCode::BadSignature),
        _ => {
            let mut bad = good;
            *bad.last_mut().context("no byte")? ^= 1;
            (bad, ResetCode::BadSignature)
        }
    };
    call.stream.sender.frame(Kind::Bid, &payload).await?;
    let got = Stranger::reset_of(&mut call.stream).await?;
    ensure!(got == code, "{got} for {code}");
    Ok(())
}
