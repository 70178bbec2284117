//! The Rust half of `make engine`: what `build.py` cannot do with a compiler alone.
//!
//! `bindings` writes C bindings for the WIT world, `component` wraps the linked core module, `snapshot` runs `init`
//! once and keeps the memory that it leaves, `pack` compresses and prints the hash. A component whose core module
//! imports anything that is not of the `eider:engine` package does not pass `component`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use wasmtime::component::{Component, Linker, types::ComponentItem};
use wasmtime::{Config, Engine, Store};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// C bindings for the world `query-engine` of a WIT file.
    Bindings { wit: PathBuf, out_dir: PathBuf },
    /// Core module with embedded type information to component.
    Component { core: PathBuf, out: PathBuf },
    /// Component to component whose memory is as `init` leaves it.
    Snapshot { component: PathBuf, out: PathBuf },
    /// Component to its compressed form; prints the BLAKE3 and size of the uncompressed one.
    Pack { component: PathBuf, out: PathBuf },
}

fn main() -> Result<()> {
    match Args::parse().step {
        Step::Bindings { wit, out_dir } => bindings(&wit, &out_dir),
        Step::Component { core, out } => component(&core, &out),
        Step::Snapshot { component, out } => snapshot(&component, &out),
        Step::Pack { component, out } => pack(&component, &out),
    }
}

fn bindings(wit: &Path, out_dir: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(wit).context("parse the WIT")?;
    let world = resolve.select_world(&[package], Some("query-engine"))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    for (name, bytes) in files.iter() {
        std::fs::write(out_dir.join(name), bytes)?;
    }
    Ok(())
}

fn component(core: &Path, out: &Path) -> Result<()> {
    let core = std::fs::read(core)?;
    let bytes = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .context("the core module imports something that the WIT world does not have")?
        .encode()?;
    std::fs::write(out, bytes)?;
    Ok(())
}

fn snapshot(component: &Path, out: &Path) -> Result<()> {
    let bytes = std::fs::read(component)?;
    let mut config = Config::new();
    // As in the sandbox: see `Settings` there. Cranelift's optimizer is of no use to a single `init`.
    config.wasm_exceptions(true).cranelift_nan_canonicalization(true).wasm_relaxed_simd(false);
    config.max_wasm_stack(8 << 20).async_stack_size(9 << 20);
    let engine = Engine::new(&config)?;
    let mut store = Store::new(&engine, ());
    let mut wizer = wasmtime_wizer::Wizer::new();
    wizer.init_func("init").keep_init_func(true);
    let run = wizer.run_component(
        &mut store,
        &bytes,
        async |store, component| {
            let linker = trapping_linker(component, store.engine())?;
            linker.instantiate_async(store, component).await
        },
    );
    let (snapshot, _) = block_on(run)?;
    std::fs::write(out, snapshot)?;
    Ok(())
}

/// Every import traps: `init` must not depend on a job.
fn trapping_linker(component: &Component, engine: &Engine) -> wasmtime::Result<Linker<()>> {
    let mut linker = Linker::new(engine);
    for (_, item) in component.component_type().imports(engine) {
        if !matches!(item.ty, ComponentItem::ComponentInstance(_)) {
            return Err(wasmtime::Error::msg("an import is not an interface"));
        }
    }
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

/// Wizer's future only waits for the guest, which never yields.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

fn pack(component: &Path, out: &Path) -> Result<()> {
    let bytes = std::fs::read(component)?;
    if bytes.is_empty() {
        bail!("{} is empty", component.display());
    }
    let packed = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 19)?;
        encoder.long_distance_matching(true)?;
        encoder.window_log(26)?;
        std::io::Write::write_all(&mut encoder, &bytes)?;
        encoder.finish()?
    };
    std::fs::write(out, &packed)?;
    println!("blake3 = \"{}\"\nbytes = {}", blake3::hash(&bytes), bytes.len());
    Ok(())
}
