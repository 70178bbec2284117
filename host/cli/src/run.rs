//! `eider run`: the same job in the local sandbox alone.

use std::io;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, FromArgMatches};
use eider_node::{Paths, RunError, Work, run_local};
use eider_protocol::{Outcome, Task};
use eider_sandbox::{BrokerError, CellError};

use crate::job::JobArgs;
use crate::{query, setup, words};

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
}

impl RunArgs {
    /// As from a command line.
    pub(crate) fn from_words<const N: usize>(words: [&str; N]) -> Result<Self> {
        let matches = Self::augment_args(clap::Command::new("run")).try_get_matches_from(words)?;
        Ok(Self::from_arg_matches(&matches)?)
    }
}

pub(crate) async fn run(args: RunArgs) -> Result<ExitCode> {
    let args = args.job;
    let sql = args.sql()?;
    let (engine, _) = args.engine()?;
    let stop = setup::stop_signal()?;
    let image = setup::image(&Paths::from_env()?, &engine, args.variant()).await?;
    let runner = setup::runner(vec![image], 1)?;
    let inputs = args.pin().await?;
    let task = Task { sql, inputs: inputs.entries(), time_us: args.time_us()?, seed: args.seed()?, salt: [0; 32] };
    let work = Work { task, limits: args.limits()?, engine: engine.hash, variant: args.variant() };
    let output = args.output()?;
    let mut sink = output.sink();
    let started = std::time::Instant::now();
    let ran = tokio::select! {
        ran = run_local(&runner, work, &inputs, &mut sink) => ran,
        () = stop.cancelled() => {
            eprintln!("eider: cancelled");
            return Ok(ExitCode::from(130));
        }
        () = tokio::time::sleep(args.deadline) => bail!("the deadline of {} passed", humantime::format_duration(args.deadline)),
    };
    match ran {
        Ok(report) => match report.outcome {
            Outcome::Completed { rows, length, .. } => {
                if !query::finish(output, &stop).await? {
                    return Ok(ExitCode::from(130));
                }
                let took = started.elapsed().as_millis();
                eprintln!("{rows} rows, {}, {took} ms in the local sandbox", bytesize::ByteSize(length));
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Failed { kind, message, .. } => {
                eprintln!("eider: {kind}.\n{}", words::message(&message));
                Ok(ExitCode::from(1))
            }
        },
        Err(RunError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(RunError::Cell(CellError::Broker(e @ BrokerError::InputChanged(..)))) => {
            eprintln!("eider: {e}");
            Ok(ExitCode::from(1))
        }
        Err(e) => Err(e.into()),
    }
}
