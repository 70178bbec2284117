//! Settles another outcome than was committed to.
//! loses: the job, and its own result

use eider_tests::strangers::*;

/// [P-SETTLE-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::settles_wrongly(town, |settle| settle.digest = Hash::from_bytes([9; 32])).await
}
