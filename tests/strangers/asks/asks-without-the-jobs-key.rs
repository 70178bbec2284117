//! Has jobs run, and settles with one in clear, and asks for the result of another in clear, with another job's key, and with rubbish.
//! loses: small tasks

use eider_tests::strangers::*;

/// [P-SEAL-5]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    let stranger = Stranger::dial(&town.worker(0)).await?;
    let task = Stranger::task("SELECT 1");
    let (mut stream, id, bid) = stranger.accepted(&stranger.offer_with(&task, |_| {})?).await?;
    stream.sender.send(&stranger.dispatch(id, &bid, &task)?).await?;
    let secret = stranger.secret(id)?;
    stream.receiver.unseal_answer(&secret, Lane::Job, secret.salt());
    let commit = stranger.commit(&mut stream).await?;
    stream.sender.send(&stranger.sign(stranger.settle_of(&commit))).await?;
    stream.sender.finish().await;
    let code = Stranger::refusal(&mut stream).await?;
    ensure!(code == ResetCode::Unsealed && code.fault() == Fault::None, "settled in clear: reset as {code}");

    let (mut first, one) = stranger.committed("SELECT 1").await?;
    let (mut second, other) = stranger.committed("SELECT 2").await?;
    let verify = stranger.sign(Verify { offer: one.offer, root: Stranger::root(&one)?.0, offset: 0 });
    let code = stranger.refused(Stranger::frame_of(&verify)).await?;
    ensure!(code == ResetCode::Unexpected, "asked in clear: reset as {code}");
    let announced = |salt| encode_frame(Kind::Sealed, &Sealed { offer: one.offer, salt }.to_payload());
    let code = stranger.refused([announced([1; 32])?, Stranger::frame_of(&verify)].concat()).await?;
    ensure!(code == ResetCode::Unsealed, "announced, and asked in clear: reset as {code}");
    let code = stranger.refused([announced([1; 32])?, vec![0; 100]].concat()).await?;
    ensure!(code == ResetCode::Unsealed, "rubbish: reset as {code}");
    let (of_other, mut sealer) = stranger.secret(other.offer)?.ask(Lane::Verify)?;
    let mut sealed = announced(of_other.salt)?;
    sealer.seal(&Stranger::frame_of(&verify), &mut sealed)?;
    let code = stranger.refused(sealed).await?;
    ensure!(code == ResetCode::Unsealed, "with another job's key: reset as {code}");
    ensure!(!stranger.result(&one, 0).await?.is_empty(), "the right one is refused then");
    stranger.settle(&mut first, &one).await?;
    stranger.settle(&mut second, &other).await?;
    stranger.is_free().await
}
