//! Begins a thousand streams with the header of what asks for an engine, which a worker does not hand out.
//! loses: five bytes of each stream, until they are refused

use eider_tests::strangers::*;

/// [P-FRAME-4]
pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::floods(town, Kind::Engine).await
}
