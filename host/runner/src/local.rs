//! The same job in the local sandbox alone: no grid, no quorum.

use bytes::Bytes;
use eider_inputs::{Inputs, read_at};
use eider_protocol::{Outcome, Progress, Stage};
use eider_sandbox::BrokerError;
use tokio::sync::watch;

use crate::Sink;
use crate::cells::{InputReader, Product, Reading, RunError, Runner, Work};

/// Bytes of a result that are read at a time.
const PIECE: usize = 1 << 20;

/// How a local run ended.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LocalReport {
    /// The outcome, as a worker would commit to it.
    pub outcome: Outcome,
}

/// Reads of the requester's own files.
struct Files<'a>(&'a Inputs);

impl InputReader for Files<'_> {
    fn read<'a>(&'a self, index: u32, offset: u64, into: &'a mut [u8]) -> Reading<'a> {
        Box::pin(async move {
            let input = &self.0.pinned()[index as usize];
            let changed = || BrokerError::InputChanged(input.entry.table.clone(), input.path.display().to_string());
            read_at(&input.source.file, offset, into).await.map_err(|_| changed())?;
            if input.unchanged() { Ok(()) } else { Err(changed()) }
        })
    }
}

/// Runs a job here and writes its result to `sink`.
///
/// # Errors
/// [`RunError`]; a failing query is an outcome and no error.
pub async fn run_local(
    runner: &dyn Runner,
    work: Work,
    inputs: &Inputs,
    sink: &mut dyn Sink,
) -> Result<LocalReport, RunError> {
    let (progress, _) = watch::channel(Progress { stage: Stage::Preparing, done: 0, bytes_read: 0 });
    let Product { outcome, result } = runner.run(work, &Files(inputs), progress).await?;
    if let (Some(source), Outcome::Completed { length, .. }) = (result, &outcome) {
        let mut offset = 0;
        while offset < *length {
            let mut piece = vec![0; usize::try_from(*length - offset).unwrap_or(PIECE).min(PIECE)];
            read_at(&source.file, offset, &mut piece).await?;
            offset += piece.len() as u64;
            sink.write(Bytes::from(piece)).await.map_err(RunError::Output)?;
        }
    }
    Ok(LocalReport { outcome })
}
