//! Sends an Offer with one bit flipped, for a bit of every second byte.
//! loses: a signature of each

use eider_tests::strangers::*;

/// [P-SIGN-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    use ResetCode::{BadSignature, FrameTooLarge, Incompatible, Malformed, Unexpected, UnknownKind, WrongPeer};
    let frame = Stranger::frame_of(&stranger.offer_with(&Stranger::task("SELECT 1"), |_| {})?);
    for at in (0..frame.len()).step_by(2).chain(0..HEADER_BYTES) {
        let mut flipped = frame.clone();
        flipped[at] ^= 1 << (at % 8);
        let code = stranger.refused(flipped).await?;
        let known =
            [BadSignature, FrameTooLarge, Incompatible, Malformed, Unexpected, UnknownKind, WrongPeer].contains(&code);
        ensure!(known, "at {at}: reset as {code}");
    }
    Ok(())
}
