//! Challenges a worker with a TPM rightly, and then again.
//! loses: two answers of its TPM, and the place of a Bid until the second

use eider_attest::Envelope;
use eider_attest::tpm2::{Evidence, RANDOM, make_credential, parse};
use eider_tests::strangers::*;
use eider_tests::{Behaviour, Grid, Machine};

/// [P-ATTEST-2]
pub(crate) async fn play(_: &'static Town) -> Result<()> {
    let Some(machine) = Machine::start() else { return Ok(()) };
    let grid = Grid::start(&[Behaviour::Honest], &["--policy", &machine.worker_policy()])?;
    let stranger = Stranger::dial(&grid.candidates()[0]).await?;
    let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| {
        offer.attest = Some(Demand { policy: Hash::from_bytes(offer.nonce), max_age_s: 0 });
    })?;
    let (mut stream, id, bid) = stranger.accepted(&offer).await?;
    let envelope = Envelope::open(&bid.evidence.context("no evidence")?, stranger.connection.node())?;
    let evidence = Evidence::decode(&envelope.evidence).map_err(|e| anyhow::Error::msg(e.to_string()))?;
    let attestation_key = parse::Public::parse(&evidence.ak).map_err(|e| anyhow::Error::msg(e.to_string()))?;
    let certificate = envelope.endorsements.first().context("no certificate")?;
    let credential = make_credential(certificate, &attestation_key.name, &[5; 32], &[6; RANDOM])?;
    let challenge = stranger.sign(Challenge { offer: id, credential: credential.blob, secret: credential.secret });
    stream.sender.send(&challenge).await?;
    let frame = stream.receiver.expect_of(&[Kind::Response]).await?;
    let response = frame.open::<Response>(Version::LATEST, stranger.connection.node())?;
    ensure!(response.message().secret == [5; 32], "the TPM opened something else");
    stream.sender.send(&challenge).await?;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Unexpected, "reset as {code}");
    Ok(())
}
