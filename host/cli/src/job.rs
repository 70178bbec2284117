//! The options that `query` and `run` share.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use eider_engines::Stored;
use eider_node::{EngineBinary, InputArg, Inputs};
use eider_protocol::Limits;
use eider_results::{Output, OutputFormat};
use eider_sandbox::Variant;

use crate::{keyfile, setup, words};

/// Largest query, bytes: leaves room for the manifest in a Dispatch.
const SQL_MAX: u64 = 1 << 20;
/// WebAssembly's address space, less the page that no memory can have.
const MEMORY_MAX: u64 = (4 << 30) - (64 << 10);

#[derive(clap::Args)]
pub(crate) struct JobArgs {
    /// The query. With `-f` it is read from a file instead.
    #[arg(value_name = "SQL", required_unless_present = "file")]
    sql: Option<String>,
    /// Read the query from a file, `-` for standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// A table: a file or a glob of files of one format (parquet, csv, json; also .gz and .zst). Repeat for more.
    #[arg(short, long = "input", value_name = "NAME=PATH")]
    inputs: Vec<InputArg>,
    /// Write the result here instead of to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the result; by the ending of `-o` unless said, else a table on a terminal and csv elsewhere.
    #[arg(long, value_parser = formats())]
    format: Option<OutputFormat>,
    /// Memory that the query may use. Part of the job: it can change whether a query fits, never its rows.
    #[arg(long, default_value = "2GiB")]
    memory: ByteSize,
    /// Largest result. Each worker sets so much disk aside, so that less fits more workers.
    #[arg(long, default_value = "4GiB")]
    max_result: ByteSize,
    /// The job ends by then. Workers decline what may run longer than their owner says, 10m by default.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,
    /// Count fuel: a deterministic measure of the work, at about a quarter more time.
    #[arg(long)]
    pub(crate) metered: bool,
    /// Units of fuel that the query may use; a billion is about a second.
    #[arg(long, requires = "metered")]
    fuel: Option<u64>,
    /// What `now()` answers, as 2026-01-31T12:00:00Z; the present unless said.
    #[arg(long, value_parser = humantime::parse_rfc3339)]
    time: Option<SystemTime>,
    /// What `random()` and `uuid()` are seeded with: 64 hexadecimal digits; fresh ones unless said.
    #[arg(long)]
    seed: Option<String>,
    /// Another engine: NAME, NAME@VERSION or the hash of one that `eider engine list` shows, or a component file.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Keep which engine that is in a file, and take that one and no other if there is the file already.
    #[arg(long, value_name = "FILE")]
    engine_lock: Option<PathBuf>,
}

/// The forms of a result, as a command line names them.
fn formats() -> impl TypedValueParser<Value = OutputFormat> {
    let named = OutputFormat::ALL.map(|f| PossibleValue::new(f.word()).help(f.about()));
    PossibleValuesParser::new(named).try_map(|word| word.parse::<OutputFormat>())
}

/// What a lock file holds.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineLock {
    engine: String,
    /// As `eider engine list` shows it.
    blake3: String,
}

/// Largest lock file, bytes.
const LOCK_MAX: usize = 64 << 10;

impl JobArgs {
    /// The engine, pinned by its hash before anybody is asked; and what this node's store has of it.
    pub(crate) fn engine(&self) -> Result<(EngineBinary, Option<Stored>)> {
        let Some(path) = &self.engine_lock else { return setup::engine(self.engine.as_deref()) };
        let shown = path.display();
        if !path.exists() {
            let (engine, stored) = setup::engine(self.engine.as_deref())?;
            let lock = EngineLock { engine: engine.name.clone(), blake3: engine.hash.to_string() };
            let text = format!(
                "# Written by `eider`, for its --engine-lock: the one engine that is taken.\n{}",
                toml::to_string(&lock)?
            );
            keyfile::create(path, text.as_bytes())?;
            return Ok((engine, stored));
        }
        let lock: EngineLock = toml::from_str(&keyfile::text(path, LOCK_MAX)?).with_context(|| format!("{shown}"))?;
        let found = match &self.engine {
            Some(named) => setup::engine(Some(named)),
            // The built-in engine is in no store.
            None if EngineBinary::built_in()?.hash.to_string() == lock.blake3 => setup::engine(None),
            None => setup::engine(Some(&lock.blake3)).with_context(|| {
                format!("{shown} pins {}; if that is a file, name it with --engine", words::word(&lock.engine))
            }),
        };
        let (engine, stored) = found?;
        if engine.hash.to_string() != lock.blake3 {
            bail!(
                "{shown} is of {} ({}), and {} is {}: remove the file to take it",
                words::word(&lock.engine),
                words::word(&lock.blake3),
                engine.name,
                engine.hash
            );
        }
        Ok((engine, stored))
    }

    pub(crate) fn sql(&self) -> Result<String> {
        let sql = match (&self.sql, &self.file) {
            (Some(sql), _) => sql.clone(),
            (None, Some(path)) => {
                let mut text = String::new();
                let reader: Box<dyn Read> = if path.as_os_str() == "-" {
                    Box::new(std::io::stdin())
                } else {
                    Box::new(std::fs::File::open(path).with_context(|| format!("query file {}", path.display()))?)
                };
                reader
                    .take(SQL_MAX + 1)
                    .read_to_string(&mut text)
                    .with_context(|| format!("query file {}", path.display()))?;
                text
            }
            (None, None) => bail!("there is no query"),
        };
        if sql.len() as u64 > SQL_MAX {
            bail!("the query has more than {SQL_MAX} bytes");
        }
        if sql.trim().is_empty() {
            bail!("the query is empty");
        }
        Ok(sql)
    }

    /// The result's way out: to standard output, or to a file that appears when it is complete.
    pub(crate) fn output(&self) -> Result<Output> {
        let format = self.format.or_else(|| OutputFormat::of_path(self.output.as_ref()?));
        Ok(match &self.output {
            Some(path) => Output::to_file(format.unwrap_or(OutputFormat::Csv), path)?,
            None => {
                let stdout = std::io::stdout();
                let default = if stdout.is_terminal() { OutputFormat::Table } else { OutputFormat::Csv };
                Output::to_writer(format.unwrap_or(default), Box::new(stdout))?
            }
        })
    }

    /// Resolves and hashes the inputs, with a sign of life when that takes time.
    pub(crate) async fn pin(&self) -> Result<Inputs> {
        const SHOW: u64 = 256 << 20;
        let args = self.inputs.clone();
        let pin = move || {
            let mut shown = None;
            let pinned = Inputs::pin(&args, &std::env::temp_dir(), |path, done, total| {
                if total <= SHOW {
                    return;
                }
                let bar = shown.get_or_insert_with(|| setup::busy(&format!("hashing {} of inputs", ByteSize(total))));
                bar.set_message(format!("hashing {}: {} of {}", path.display(), ByteSize(done), ByteSize(total)));
            });
            if let Some(bar) = shown {
                bar.finish_and_clear();
            }
            pinned
        };
        Ok(tokio::task::spawn_blocking(pin).await??)
    }

    pub(crate) fn limits(&self) -> Result<Limits> {
        let memory = self.memory.as_u64();
        if !(64 << 20..=4 << 30).contains(&memory) {
            bail!("--memory {}: a query can have 64MiB to 4GiB", self.memory);
        }
        let run_ms = u64::try_from(self.deadline.as_millis())?;
        Ok(Limits { memory: memory.min(MEMORY_MAX), result: self.max_result.as_u64(), run_ms, fuel: self.fuel })
    }

    pub(crate) fn variant(&self) -> Variant {
        if self.metered { Variant::Metered } else { Variant::Plain }
    }

    pub(crate) fn time_us(&self) -> Result<i64> {
        let time = self.time.unwrap_or_else(SystemTime::now);
        Ok(i64::try_from(time.duration_since(UNIX_EPOCH).context("--time is before 1970")?.as_micros())?)
    }

    pub(crate) fn seed(&self) -> Result<[u8; 32]> {
        let mut seed = [0; 32];
        match &self.seed {
            Some(text) => hex::decode_to_slice(text, &mut seed).context("--seed must be 64 hexadecimal digits")?,
            None => getrandom::fill(&mut seed).context("the operating system gives no randomness")?,
        }
        Ok(seed)
    }
}
