//! Asks a thousand times for results that there are not.
//! loses: a signature for each

use eider_tests::strangers::*;

/// [P-STREAM-2]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    for _ in 0..20 {
        let mut streams = vec![];
        for _ in 0..50 {
            let announced = Sealed { offer: OfferId::from_bytes(rand()), salt: rand() }.to_payload();
            streams.push(stranger.says(Stranger::frame(Kind::Sealed as u8, announced.len(), &announced)).await?);
        }
        for stream in &mut streams {
            let code = Stranger::refusal(stream).await?;
            ensure!(code == ResetCode::WrongPeer, "reset as {code}");
        }
    }
    Ok(())
}

fn rand() -> [u8; 32] {
    *Stranger::task("").hash().as_bytes()
}
