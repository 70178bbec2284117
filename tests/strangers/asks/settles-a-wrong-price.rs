//! Settles at another price than was bid.
//! loses: the job, and its own result

use eider_tests::strangers::*;

/// [P-SETTLE-1]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::settles_wrongly(town, |settle| settle.price += 1).await
}
