//! Names the hash of another's file with a byte less, and serves the file without it.
//! loses: one execution, to the first read of its input

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::misnames(town, |bytes| bytes.truncate(bytes.len() - 1)).await
}
