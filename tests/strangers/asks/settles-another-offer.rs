//! Settles another job than the stream's.
//! loses: the job, and its own result

use eider_tests::strangers::*;

/// [P-SETTLE-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::settles_wrongly(town, |settle| settle.offer = OfferId::from_bytes([9; 32])).await
}
