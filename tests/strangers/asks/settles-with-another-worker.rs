//! Settles the work of another worker.
//! loses: the job, and its own result

use eider_tests::strangers::*;

/// [P-SETTLE-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::settles_wrongly(town, |settle| settle.worker = NodeId::from_bytes([9; 32])).await
}
