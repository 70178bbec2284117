//! Begins a thousand streams with the header of a Progress, which cannot come first, and sends none of it.
//! loses: five bytes of each stream, until they are refused

use eider_tests::strangers::*;

/// [P-FRAME-4]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::floods(town, Kind::Progress).await
}
