//! Commits to another task than that which was offered, to another price than its Bid's, for another job, and under another key.
//! loses: one execution each
//! strangers: 2
//! plan: 5 3
//! jobs: 2
//! fates: caught: dispatch does not match its offer | caught: message out of order | caught: message of or for another node

use eider_tests::strangers::*;

/// [P-COMMIT-1], [P-TASK-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    call.bid().await?;
    call.task().await?;
    let good = call.commit_to(call.truth().0);
    let other = Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?;
    let (commit, code) = match call.number % 4 {
        0 => (call.sign(Commit { task: Hash::from_bytes([1; 32]), ..good }), ResetCode::TaskMismatch),
        1 => (call.sign(Commit { price: 1, ..good }), ResetCode::TaskMismatch),
        2 => (call.sign(Commit { offer: OfferId::from_bytes([1; 32]), ..good }), ResetCode::Unexpected),
        _ => (Signed::sign(&other, Version::LATEST, good), ResetCode::WrongPeer),
    };
    call.stream.sender.send(&commit).await?;
    let got = Stranger::reset_of(&mut call.stream).await?;
    ensure!(got == code, "{got} for {code}");
    Ok(())
}
