//! A worker that lies, for tests and the demo: the shipped worker with a [`Runner`] that spoils what an honest one makes.

use std::fs::File;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use eider_net::file_outboard;
use eider_node::{
    CellRunner, EngineBinary, InputReader, LocalWorker, Paths, Product, Runner, Running, Work, WorkerParts,
    WorkerPolicy,
};
use eider_protocol::{Hash, Outcome, Progress};
use eider_sandbox::{CellCommand, ImageCache, Variant};
use eider_tests::Behaviour;
use tokio::sync::watch;

#[derive(Parser)]
struct Args {
    behaviour: Behaviour,
    /// The shipped program, for its cells.
    #[arg(long)]
    eider: PathBuf,
    #[arg(long)]
    metered: bool,
}

struct Spoiler {
    honest: CellRunner,
    behaviour: Behaviour,
}

impl Runner for Spoiler {
    fn run<'a>(&'a self, work: Work, inputs: &'a dyn InputReader, progress: watch::Sender<Progress>) -> Running<'a> {
        Box::pin(async move {
            if self.behaviour == Behaviour::Stall {
                // Kept, so that the worker goes on saying that it works.
                let _progress = progress;
                return std::future::pending().await;
            }
            let started = Instant::now();
            let product = self.honest.run(work, inputs, progress).await?;
            match self.behaviour {
                Behaviour::WrongCommit => Ok(spoil(product, true)?),
                Behaviour::WrongBytes => Ok(believed(spoil(product, false)?)),
                Behaviour::BadDisk => Ok(spoil(product, false)?),
                Behaviour::Slow => {
                    tokio::time::sleep((started.elapsed() / 2).max(Duration::from_secs(2))).await;
                    Ok(product)
                }
                Behaviour::Honest | Behaviour::Stall => Ok(product),
            }
        })
    }
}

/// Changes one byte in the middle of the result's file; with `recommit`, commits to what that makes.
fn spoil(product: Product, recommit: bool) -> std::io::Result<Product> {
    let Product { outcome: Outcome::Completed { length, rows, metering, root }, result: Some(kept) } = product else {
        return Ok(product);
    };
    let mut byte = [0];
    kept.file.read_exact_at(&mut byte, length / 2)?;
    kept.file.write_all_at(&[byte[0] ^ 1], length / 2)?;
    if !recommit {
        return Ok(Product { outcome: Outcome::Completed { root, length, rows, metering }, result: Some(kept) });
    }
    let mut file: &File = &kept.file;
    file.rewind()?;
    let outboard = file_outboard(&mut file, length)?;
    let root = Hash::from(outboard.root);
    Ok(Product { outcome: Outcome::Completed { root, length, rows, metering }, result: Some(kept.under(outboard)) })
}

/// Delivers whatever is in the result's file.
fn believed(product: Product) -> Product {
    let result = product.result.map(|kept| {
        let committed = kept.outboard.clone();
        kept.under(committed)
    });
    Product { result, ..product }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let paths = Paths::from_env()?;
    let (identity, _) = eider_node::load_or_create_key(&paths.key())?;
    let engine = EngineBinary::built_in()?;
    let cache = ImageCache::open(paths.engines(), CellCommand::new(&args.eider))?;
    let variants = if args.metered { Variant::ALL.to_vec() } else { vec![Variant::Plain] };
    let command = CellCommand { idle: true, ..CellCommand::new(&args.eider) };
    let images = variants.into_iter().map(|v| cache.image(engine.hash.into(), v, || engine.bytes(), |_| {}));
    let engines = vec![(engine.clone(), Ok(images.collect::<Result<_, _>>()?))];
    let policy = WorkerPolicy { listen: "127.0.0.1:0".parse()?, ..WorkerPolicy::default() };
    let parts = WorkerParts { policy, paths, identity, command, engines, taking: None };
    let behaviour = args.behaviour;
    let LocalWorker { worker, .. } = parts.start(|honest| Arc::new(Spoiler { honest, behaviour }))?;
    println!("listening {}#{}", worker.address(), worker.node());
    tokio::signal::ctrl_c().await.context("signals")?;
    worker.shutdown().await;
    Ok(())
}
