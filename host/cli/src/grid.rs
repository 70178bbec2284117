//! `eider up`: a development grid on loopback.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use eider_node::Paths;
use eider_sandbox::Variant;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::setup;

#[derive(clap::Args)]
pub(crate) struct UpArgs {
    /// Workers.
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Port of the first; the others follow. 0 for any.
    #[arg(long, default_value_t = 7441)]
    port: u16,
    /// Memory of each.
    #[arg(long, default_value = "4GiB")]
    memory: ByteSize,
    /// Jobs at a time of each.
    #[arg(long, default_value_t = 2)]
    jobs: u32,
    /// Serve metered jobs too.
    #[arg(long)]
    metered: bool,
}

/// Where the running grid's workers are listed; `eider query` looks there.
pub(crate) fn peers_file(paths: &Paths) -> PathBuf {
    paths.home.join("up").join("peers")
}

/// Deleted when the grid goes down.
struct PeersFile(PathBuf);

impl Drop for PeersFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) async fn up(args: UpArgs) -> Result<ExitCode> {
    let paths = Paths::from_env()?;
    let stop = setup::stop_signal()?;
    let (engine, _) = setup::engine(None)?;
    // Once here, and not in every worker.
    setup::image(&paths, &engine, Variant::Plain).await?;
    if args.metered {
        setup::image(&paths, &engine, Variant::Metered).await?;
    }
    let (mut children, mut lines) = (vec![], vec![]);
    for i in 0..args.workers {
        let (child, line) = start(&args, &paths, i).await?;
        children.push(child);
        lines.push(line);
    }
    let file = peers_file(&paths);
    std::fs::write(&file, lines.join("\n") + "\n").with_context(|| format!("peers file {}", file.display()))?;
    let _file = PeersFile(file);
    for line in &lines {
        println!("{line}");
    }
    eprintln!(
        "{} workers on loopback, for development: one machine is no grid. Now, in another terminal: eider query 'SELECT 42'",
        lines.len()
    );
    tokio::select! {
        () = stop.cancelled() => {}
        gone = any_exit(&mut children) => eprintln!("eider: worker {gone} ended; stopping the grid"),
    }
    for child in &mut children {
        terminate(child).await;
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(args: &UpArgs, paths: &Paths, i: u16) -> Result<(Child, String)> {
    let port = if args.port == 0 { 0 } else { args.port.checked_add(i).context("the ports end at 65535")? };
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("worker")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--memory", &format!("{}B", args.memory.as_u64())])
        .args(["--jobs", &args.jobs.to_string()])
        .args(args.metered.then_some("--metered"))
        .env("EIDER_HOME", paths.home.join("up").join(i.to_string()))
        .env("EIDER_CACHE", &paths.cache)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().context("cannot start a worker")?;
    let stdout = child.stdout.take().context("a worker has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let first = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
    match first {
        Ok(Ok(Some(line))) if line.starts_with("listening ") => Ok((child, line["listening ".len()..].to_string())),
        _ => bail!("worker {i} did not come up; its reason is above"),
    }
}

async fn any_exit(children: &mut [Child]) -> usize {
    loop {
        for (i, child) in children.iter_mut().enumerate() {
            if !matches!(child.try_wait(), Ok(None)) {
                return i;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// SIGTERM, and SIGKILL after three seconds.
async fn terminate(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|p| i32::try_from(p).ok()).and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(Duration::from_secs(3), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
