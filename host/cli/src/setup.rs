//! What several commands need first: engine images, cells, keys, signals.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use eider_engines::{EngineStore, Stored};
use eider_node::{CellRunner, EngineBinary, Paths, PathsError, Uncounted};
use eider_protocol::Identity;
use eider_sandbox::{CellCommand, Image, ImageCache, Pool, Variant};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

/// The built-in engine, a component file, or a build of this node's store; with what the store has of it, where it was asked.
pub(crate) fn engine(named: Option<&str>) -> Result<(EngineBinary, Option<Stored>)> {
    Ok(match named {
        // What is a file needs no store, and no home.
        Some(text) => match builds(&Paths::from_env()) {
            Ok(store) => EngineBinary::named(text, store)?,
            Err(_) if Path::new(text).is_file() => (EngineBinary::file(Path::new(text))?, None),
            Err(e) => return Err(e),
        },
        None => (EngineBinary::built_in()?, None),
    })
}

/// This node's store of engine builds.
pub(crate) fn builds(paths: &Result<Paths, PathsError>) -> Result<EngineStore> {
    let folder = paths.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?.builds();
    Ok(EngineStore::open(eider_node::folder(&folder).with_context(|| format!("{}", folder.display()))?))
}

/// The compiled image of an engine, made if this machine has none; says so, since that takes a minute or two.
pub(crate) async fn image(paths: &Paths, engine: &EngineBinary, variant: Variant) -> Result<Image> {
    let cache = ImageCache::open(paths.engines(), cell_command()?)?;
    let engine = engine.clone();
    let compile = move || -> Result<Image> {
        let spinner = std::cell::RefCell::new(None);
        let started = Instant::now();
        let image = cache.image(
            engine.hash.into(),
            variant,
            || engine.bytes(),
            |bytes| {
                let what = format!(
                    "compiling {} ({variant}, {} MB) for this machine: once, about a minute on two cores",
                    engine.name,
                    bytes / 1_000_000
                );
                *spinner.borrow_mut() = Some(busy(&what));
            },
        );
        if let Some(spinner) = spinner.into_inner() {
            spinner.finish_and_clear();
            eprintln!("compiled in {:.0} s", started.elapsed().as_secs_f64());
        }
        Ok(image?)
    };
    tokio::task::spawn_blocking(compile).await?
}

/// A line that moves on a terminal, and stands in a pipe.
pub(crate) fn busy(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("{what}");
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_string());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// How this program starts a cell of itself: of the file that it runs, also when another has its name by now.
pub(crate) fn cell_command() -> Result<CellCommand> {
    const ITSELF: &str = "/proc/self/exe";
    std::fs::metadata(ITSELF).context(
        "this program's own file, which cells are started from, is found by way of /proc, which must be mounted",
    )?;
    Ok(CellCommand::new(ITSELF))
}

/// Cells for these images, `ahead` ready at a time.
pub(crate) fn runner(images: Vec<Image>, ahead: usize) -> Result<CellRunner> {
    let command = cell_command()?;
    Ok(CellRunner::new(
        images.into_iter().map(|i| Pool::start(command.clone(), i, ahead)),
        std::env::temp_dir(),
        Arc::new(Uncounted),
    ))
}

/// This node's identity, made at first use.
pub(crate) fn identity(path: &std::path::Path) -> Result<Identity> {
    let (identity, made) = eider_node::load_or_create_key(path)?;
    if made {
        eprintln!("made a key for this node: {} ({})", identity.node_id(), path.display());
    }
    Ok(identity)
}

/// Cancelled by the first Ctrl-C or SIGTERM; a second one ends the process at once.
pub(crate) fn stop_signal() -> Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let cancel = token.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for round in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            cancel.cancel();
            if round > 0 {
                std::process::exit(130);
            }
        }
    });
    Ok(token)
}
