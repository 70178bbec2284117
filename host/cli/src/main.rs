//! The `eider` program: command lines in, exit codes out. All that lasts is in `eider-node`.

mod audit;
mod builds;
mod cell;
mod doctor;
mod engine;
mod grid;
mod job;
mod key;
mod keyfile;
mod log;
mod policy;
mod query;
mod run;
mod setup;
mod words;
mod worker;

use std::panic;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// SQL over files, run by sandboxed workers on machines that nobody has to trust.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 done, 1 the query failed or what was checked does not hold, 2 it could not be tried (usage, files, this machine),
3 no verified result, 4 an audit or diff finds a change, 130 interrupted.
Files: EIDER_HOME (keys, past jobs and a worker's donated disk, default ~/.local/share/eider), EIDER_CACHE (compiled engines,
default ~/.cache/eider)."
)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// More on standard error: -v info, -vv debug. EIDER_LOG takes a tracing filter.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Form of the log lines.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run SQL on a grid of workers, and take only what a quorum of them agrees on.
    Query(query::QueryArgs),
    /// Run SQL in the local sandbox alone: same engine, same result, no quorum.
    Run(run::RunArgs),
    /// Donate this machine: run jobs for others, in sandboxes.
    Worker(worker::WorkerArgs),
    /// A development grid: N workers on loopback, with identities that stay.
    Up(grid::UpArgs),
    /// This node's key.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Query engines: what they are and what they may touch.
    #[command(subcommand)]
    Engine(engine::EngineCommand),
    /// Logs of published engines: what was published under which name, for ever.
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Policies: what workers must prove of their hardware.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Past jobs: who claimed what hardware, who proved it, and whether that still holds.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// What this machine gives to a worker's sandbox, and what it lacks.
    Doctor(doctor::DoctorArgs),
    /// One job's process; started by workers, not by people.
    #[command(hide = true)]
    Cell(cell::CellArgs),
}

fn main() -> ExitCode {
    end_with_the_reader();
    let args = Args::parse();
    start_log(args.verbose, args.log_format);
    // A cell has no use for an async runtime, nor for its threads.
    if let Command::Cell(args) = args.command {
        return cell::cell(args);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&e.into()),
    };
    let result = runtime.block_on(async {
        match args.command {
            Command::Query(args) => query::query(args).await,
            Command::Run(args) => run::run(args).await,
            Command::Worker(args) => worker::worker(args).await,
            Command::Up(args) => grid::up(args).await,
            Command::Key(command) => key::key(&command),
            Command::Engine(command) => engine::engine(command).await,
            Command::Log(command) => log::log(command),
            Command::Policy(command) => policy::policy(&command),
            Command::Audit(command) => audit::audit(command).await,
            Command::Doctor(args) => doctor::doctor(args).await,
            Command::Cell(_) => Ok(ExitCode::FAILURE),
        }
    });
    // Blocking reads of a dropped job must not hold the exit.
    runtime.shutdown_background();
    result.unwrap_or_else(|e| fail(&e))
}

/// `println!` panics when nobody reads what it prints any more (`eider audit list | head`), which is no error.
fn end_with_the_reader() {
    /// What a shell says of a program that SIGPIPE has ended.
    const SIGPIPE_EXIT: i32 = 128 + 13;
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let said = info.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(SIGPIPE_EXIT);
        }
        usual(info);
    }));
}

fn fail(e: &anyhow::Error) -> ExitCode {
    eprintln!("eider: {}", words::message(format_args!("{e:#}")));
    ExitCode::from(2)
}

fn start_log(verbose: u8, format: LogFormat) {
    let default = ["warn", "info", "debug,quinn=info,quinn_proto=info"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("EIDER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
