//! Keeps every rule: has four Bids with a TPM's evidence, and challenges all four at once, which is more than may wait for the TPM.
//! loses: nothing; it must not be told that it broke the protocol

use eider_attest::Envelope;
use eider_attest::tpm2::{Evidence, RANDOM, make_credential, parse};
use eider_tests::strangers::*;
use eider_tests::{Behaviour, Grid, Machine};

/// [P-RESET-3]
pub(crate) async fn play(_: &'static Town) -> Result<()> {
    let Some(machine) = Machine::start() else { return Ok(()) };
    let grid = Grid::start(&[Behaviour::Honest], &["--policy", &machine.worker_policy()])?;
    let stranger = Stranger::dial(&grid.candidates()[0]).await?;
    let mut jobs = vec![];
    for _ in 0..4 {
        let offer = stranger.offer_with(&Stranger::task("SELECT 1"), |offer| {
            offer.attest = Some(Demand { policy: Hash::from_bytes(offer.nonce), max_age_s: 0 });
        })?;
        let (stream, id, bid) = stranger.accepted(&offer).await?;
        let envelope = Envelope::open(&bid.evidence.context("no evidence")?, stranger.connection.node())?;
        let evidence = Evidence::decode(&envelope.evidence).map_err(|e| anyhow::Error::msg(e.to_string()))?;
        let key = parse::Public::parse(&evidence.ak).map_err(|e| anyhow::Error::msg(e.to_string()))?;
        let certificate = envelope.endorsements.first().context("no certificate")?;
        let credential = make_credential(certificate, &key.name, &[5; 32], &[6; RANDOM])?;
        let challenge = stranger.sign(Challenge { offer: id, credential: credential.blob, secret: credential.secret });
        jobs.push((stream, challenge));
    }
    for (stream, challenge) in &mut jobs {
        stream.sender.send(challenge).await?;
    }
    for (stream, _) in &mut jobs {
        match stream.receiver.expect_of(&[Kind::Response]).await {
            Ok(_) => {}
            Err(StreamError::Reset(code)) => {
                ensure!(
                    code.fault() != Fault::Receiver,
                    "a good challenge is reset as {code}, which blames who made it"
                );
            }
            Err(e) => bail!("{e}"),
        }
    }
    Ok(())
}
