//! The child process: maps an image, makes an instance, says that it is ready, runs one job, ends.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::{ptr, slice};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, Trap};

use crate::engine::{self, Host, QueryEngine};
use crate::wire::{FailKind, FromCell, JobSpec, ToCell, Usage};
use crate::{Variant, jail, prefault};

/// Native stack of the thread that runs the engine: the profile's 8 MiB for WebAssembly, and room for the host.
const THREAD_STACK: usize = 16 << 20;

/// Why a cell ended before it could say anything.
#[derive(Debug, thiserror::Error)]
pub enum CellExit {
    /// Its socket, or the jail.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The image.
    #[error("the engine image cannot be used: {0}")]
    Image(String),
}

/// The whole life of a cell. Standard input is its end of the socket pair, standard output the window.
///
/// # Errors
/// [`CellExit`]: what the parent sees as a cell that ended without an outcome.
pub fn run_cell(image: &Path, variant: Variant) -> Result<(), CellExit> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    watch_parent(socket.try_clone()?)?;
    let window = map_window()?;
    let image = image.to_owned();
    let run = move || -> Result<(), CellExit> {
        let mut cell = prepare(&image, variant, socket, window)?;
        jail::enter()?;
        cell.serve()
    };
    let thread = std::thread::Builder::new().name("engine".into()).stack_size(THREAD_STACK).spawn(run)?;
    thread.join().unwrap_or_else(|_| Err(CellExit::Image("the cell panicked".into())))
}

/// Ends the process when the parent's end of the socket is gone, whatever the engine is doing.
fn watch_parent(socket: UnixStream) -> io::Result<()> {
    std::thread::Builder::new().name("watch".into()).stack_size(64 << 10).spawn(move || {
        loop {
            let mut fds = [PollFd::new(&socket, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => std::process::exit(0),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => std::process::exit(1),
            }
        }
    })?;
    Ok(())
}

/// The memory that the parent puts input ranges into, mapped for the life of the process.
#[expect(unsafe_code, reason = "mapping memory that another process writes")]
fn map_window() -> io::Result<&'static [u8]> {
    let window = io::stdout();
    // SAFETY: the file is the parent's memory file, whose size is sealed, so the mapping is valid until the process ends.
    // The parent writes it only while this process waits for the answer to a read, before which no slice of it is alive:
    // the engine has its copy by then.
    unsafe {
        let at = mmap(ptr::null_mut(), engine::CALL_MAX, ProtFlags::READ, MapFlags::SHARED, window.as_fd(), 0)?;
        Ok(slice::from_raw_parts(at.cast(), engine::CALL_MAX))
    }
}

struct Prepared {
    store: Store<Host>,
    engine: QueryEngine,
}

fn prepare(image: &Path, variant: Variant, socket: UnixStream, window: &'static [u8]) -> Result<Prepared, CellExit> {
    let err = |e: wasmtime::Error| CellExit::Image(format!("{e:#}"));
    let wasmtime = Engine::new(&variant.config()).map_err(err)?;
    let component = load(&wasmtime, image).map_err(err)?;
    let mut linker = Linker::<Host>::new(&wasmtime);
    engine::link(&mut linker).map_err(err)?;
    let mut store = Store::new(&wasmtime, Host::new(socket, window));
    store.limiter(|host| host);
    if variant == Variant::Metered {
        store.set_fuel(u64::MAX).map_err(err)?;
    }
    let engine = QueryEngine::instantiate(&mut store, &component, &linker).map_err(err)?;
    prefault::prefault();
    Ok(Prepared { store, engine })
}

/// Maps a compiled image.
#[expect(unsafe_code, reason = "deserializing machine code cannot be checked")]
fn load(wasmtime: &Engine, image: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the path comes from the parent, whose `ImageCache` made the file itself, in a folder that only this user
    // can write, under a name that covers wasmtime's version and settings; wasmtime checks the latter again.
    unsafe { Component::deserialize_file(wasmtime, image) }
}

impl Prepared {
    fn serve(&mut self) -> Result<(), CellExit> {
        self.store.data_mut().send(&FromCell::Ready)?;
        let ToCell::Job(job) = self.store.data_mut().receive()? else {
            return Err(CellExit::Io(io::ErrorKind::InvalidData.into()));
        };
        let last = self.run(*job);
        self.store.data_mut().send(&last)?;
        Ok(())
    }

    fn run(&mut self, job: JobSpec) -> FromCell {
        let call =
            engine::Job { sql: job.sql.clone(), time_us: job.time_us, seed: job.seed.to_vec(), memory: job.memory };
        self.store.data_mut().job = Some(job);
        match self.engine.call_run(&mut self.store, &call) {
            Ok(Ok(summary)) => FromCell::Done { rows: summary.rows, usage: self.usage() },
            Ok(Err(failure)) => FromCell::Failed { kind: kind_of(failure.kind), message: failure.message },
            Err(error) => self.trapped(&error),
        }
    }

    fn usage(&self) -> Usage {
        Usage { fuel: self.store.get_fuel().ok().map(|left| u64::MAX - left), memory: self.store.data().memory }
    }

    fn trapped(&self, error: &wasmtime::Error) -> FromCell {
        if self.store.data().memory_refused {
            return FromCell::Failed {
                kind: FailKind::Memory,
                message: "Out of Memory Error: the engine ended when its memory was used up".into(),
            };
        }
        let message = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        FromCell::Failed { kind: FailKind::Trap, message }
    }
}

fn kind_of(kind: engine::FailureKind) -> FailKind {
    match kind {
        engine::FailureKind::Query => FailKind::Query,
        engine::FailureKind::Denied => FailKind::Denied,
        engine::FailureKind::Input => FailKind::Input,
        engine::FailureKind::Memory => FailKind::Memory,
        engine::FailureKind::Internal => FailKind::Internal,
    }
}
