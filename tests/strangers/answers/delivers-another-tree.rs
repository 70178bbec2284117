//! Commits to the truth, and delivers other bytes with a tree that fits them.
//! loses: two hashes, and a round trip to another of the quorum
//! sql: SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)
//! fates: caught: its bytes do not match

use eider_tests::strangers::*;

/// [P-STREAM-1]
pub(crate) async fn play(caller: Caller) -> Result<()> {
    let mut call = caller.call().await?;
    let (mut stream, ..) = call.first_of_all().await?;
    let other = vec![7; call.truth().1.len()];
    let outboard = eider_net::file_outboard(&mut &other[..], other.len() as u64)?;
    let length = other.len() as u64;
    let source = eider_net::Source { outboard: std::sync::Arc::new(outboard), ..call.source(other)? };
    let _ = eider_net::send(&mut stream.sender, &source, 0, length, PATIENT).await;
    ensure!(Stranger::reset_of(&mut call.stream).await? == ResetCode::WrongBytes, "it was believed");
    Ok(())
}
