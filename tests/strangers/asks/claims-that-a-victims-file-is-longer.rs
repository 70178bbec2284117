//! Names the hash of another's file with a byte more, and serves the file with that byte.
//! loses: one execution, to the first read of its input

use eider_tests::strangers::*;

pub(crate) async fn play(town: &'static Town) -> Result<()> {
    Stranger::misnames(town, |bytes| bytes.push(b'\n')).await
}
