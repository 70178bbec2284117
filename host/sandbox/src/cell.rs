//! The child process: puts its walls up, parses and maps an image, makes an instance, says that it is ready, runs one job, ends.
//! The same process compiles an engine, since a compiler that reads a stranger's bytes is as exposed as the engine.
//!
//! Its descriptors are 0, the socket to its parent; 1, the window (or the compiled image that it writes); 2, standard
//! error, of which the parent reads a little; 3, the image (or the component to compile).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::{ptr, slice};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use wasmtime::component::{Component, Linker};
use wasmtime::error::OutOfMemory;
use wasmtime::{Engine, Store, Trap};

use crate::engine::{self, Host, QueryEngine};
use crate::jail::{self, Terms, TooLow, Wall, Walls, Work};
use crate::prefault::Maps;
use crate::wire::{Description, FailKind, FromCell, JobSpec, Lack, ToCell, Usage};
use crate::{Baseline, CONTRACT, Variant, inspect, limits};

/// Native stack of the thread that runs the engine: what WebAssembly may use, and room for the host.
const THREAD_STACK: usize = limits::WASM_STACK + (8 << 20);
/// The descriptor of the image.
pub(crate) const IMAGE_FD: i32 = 3;

/// What a cell process is started for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellTask {
    /// Run a job on an image.
    Run(Variant),
    /// Compile a component.
    Compile(Variant),
    /// Put the walls up, say which stand, and end.
    Probe,
}

/// How a cell process is started.
#[derive(Clone, Debug)]
pub struct CellOptions {
    /// What for.
    pub task: CellTask,
    /// The instructions of its image.
    pub baseline: Baseline,
    /// Linear memory that any job in it may have, or private memory that a compilation may, bytes.
    pub memory: u64,
    /// Run only when nothing else wants the processor.
    pub idle: bool,
    /// Layers of the jail without which it ends, beside the floor.
    pub require: Vec<Wall>,
}

impl CellOptions {
    /// Arguments as [`CellOptions::from_args`] reads them.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = match self.task {
            CellTask::Run(variant) => vec!["run".into(), variant.to_string()],
            CellTask::Compile(variant) => vec!["compile".into(), variant.to_string()],
            CellTask::Probe => vec!["probe".into()],
        };
        args.extend(["baseline".into(), self.baseline.to_string(), "memory".into(), self.memory.to_string()]);
        args.extend(self.idle.then(|| "idle".into()));
        for wall in &self.require {
            args.extend(["require".into(), wall.to_string()]);
        }
        args
    }

    /// The arguments that a parent starts a cell with, after the program's own.
    ///
    /// # Errors
    /// What is not understood. Only this crate writes them.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = args.into_iter();
        let (mut task, mut memory, mut idle, mut require) = (None, None, false, vec![]);
        let mut baseline = Baseline::HERE;
        while let Some(word) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{word} has no value"));
            match word.as_str() {
                "run" => task = Some(CellTask::Run(value()?.parse()?)),
                "compile" => task = Some(CellTask::Compile(value()?.parse()?)),
                "probe" => task = Some(CellTask::Probe),
                "memory" => memory = Some(value()?.parse().map_err(|e| format!("memory: {e}"))?),
                "baseline" => baseline = value()?.parse()?,
                "idle" => idle = true,
                "require" => require.push(value()?.parse()?),
                _ => return Err(format!("{word:?} is not understood; cells are started by workers, not by people")),
            }
        }
        let task = task.ok_or("cells are started by workers, not by people")?;
        Ok(Self { task, baseline, memory: memory.ok_or("memory is missing")?, idle, require })
    }
}

/// Why a cell ended before it could say anything.
#[derive(Debug, thiserror::Error)]
pub enum CellExit {
    /// Its socket, or a step of its jail.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A wall that must stand.
    #[error(transparent)]
    Wall(#[from] TooLow),
    /// The image.
    #[error("the engine image cannot be used: {0}")]
    Image(String),
    /// The component.
    #[error("{0}")]
    Compile(String),
}

/// The whole life of a cell. To be called first in a process, while it has one thread.
///
/// # Errors
/// [`CellExit`]: what the parent sees as a cell that ended without an outcome.
pub fn run_cell(options: &CellOptions) -> Result<(), CellExit> {
    run_cell_opened(options, &[], |_| Ok(()))
}

/// [`run_cell`] with the first wall opened by other imports, and without some layers of the second. For tests of what then
/// still holds.
#[doc(hidden)]
pub fn run_cell_opened(
    options: &CellOptions,
    without: &[Wall],
    more: impl FnOnce(&mut Linker<Host>) -> wasmtime::Result<()> + Send + 'static,
) -> Result<(), CellExit> {
    let terms = Terms {
        memory: options.memory,
        idle: options.idle,
        require: options.require.clone(),
        without: without.to_vec(),
    };
    // It is started by way of a name that says nothing.
    rustix::thread::set_name(c"eider-cell").map_err(io::Error::from)?;
    huge_pages_where_asked();
    plain_floats();
    let image = matches!(options.task, CellTask::Run(_)).then(passed);
    let (walls, path, maps) = jail::enter(&terms, image, || Ok(image.map_or_else(Maps::none, |_| Maps::open())))?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    match options.task {
        CellTask::Run(variant) => {
            let loaded = Loaded::map(variant, options.baseline, &path)?;
            jail::image_is_open(&walls)?;
            watch_parent(socket.try_clone()?)?;
            let window = map_window()?;
            let run = move || {
                // Once more: what a library hooks into the start of threads comes before this.
                plain_floats();
                let walls = seal(walls, &terms, Work::Run)?;
                loaded.instantiate(socket, window, more)?.serve(walls, maps)
            };
            let thread = std::thread::Builder::new().name("engine".into()).stack_size(THREAD_STACK).spawn(run)?;
            thread.join().unwrap_or_else(|_| Err(CellExit::Image("the cell panicked".into())))
        }
        CellTask::Compile(variant) => {
            watch_parent(socket)?;
            compile(variant, options.baseline, || seal(walls, &terms, Work::Compile(limits::IMAGE_BYTES)))
        }
        CellTask::Probe => {
            // Says what stands; whoever asked judges it.
            let mut walls = walls;
            jail::seal(&mut walls, &terms, Work::Run)?;
            Ok((&socket).write_all(&FromCell::Ready(walls).encode())?)
        }
    }
}

fn seal(mut walls: Walls, terms: &Terms, work: Work) -> Result<Walls, CellExit> {
    jail::seal(&mut walls, terms, work)?;
    match terms.lacks(&walls) {
        Some(lack) => Err(lack.into()),
        None => Ok(walls),
    }
}

/// Rounding, small numbers and traps of floating point as IEEE 754 has them by default. A library that somebody has the loader put into
/// every process may have changed them (one that GCC has built with `-ffast-math` does), which threads inherit, the compiler's too.
#[expect(unsafe_code, reason = "a register of the processor")]
fn plain_floats() {
    // SAFETY: the processor's state at a process's start, which all code of Rust relies on.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &0x1f80_u32, options(nostack, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("msr fpcr, {}", in(reg) 0_u64, options(nostack, nomem));
    }
}

/// The allocator switches huge pages off for the whole process, or they would be most of an idle cell's memory; the engine's
/// memory is to have them. Before Linux 6.18 that is all memory or none, where the kernel gives them unasked.
#[expect(unsafe_code, reason = "prctl by number")]
fn huge_pages_where_asked() {
    /// From <linux/prctl.h>.
    const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
    const NONE: libc::c_ulong = 0;
    // SAFETY: this option takes numbers alone.
    unsafe {
        if libc::prctl(libc::PR_SET_THP_DISABLE, 1 as libc::c_ulong, EXCEPT_ADVISED, NONE, NONE) != 0 {
            libc::prctl(libc::PR_SET_THP_DISABLE, NONE, NONE, NONE, NONE);
        }
    }
}

/// Ends the process when the parent's end of the socket is gone, whatever the engine is doing.
fn watch_parent(socket: UnixStream) -> io::Result<()> {
    let (started, starting) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("watch".into()).stack_size(64 << 10).spawn(move || {
        let _ = started.send(());
        loop {
            let mut fds = [PollFd::new(&socket, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => std::process::exit(0),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => std::process::exit(1),
            }
        }
    })?;
    // A thread's first steps are system calls that the jail will not have.
    starting.recv().map_err(io::Error::other)
}

/// The memory that the parent puts input ranges into, mapped for the life of the process.
#[expect(unsafe_code, reason = "mapping memory that another process writes")]
fn map_window() -> io::Result<&'static [u8]> {
    let window = io::stdout();
    // SAFETY: the file is the parent's memory file, whose size is sealed, so the mapping is valid until the process ends.
    // The parent writes it only while this process waits for the answer to a read, before which no slice of it is alive:
    // the engine has its copy by then.
    unsafe {
        let at = mmap(ptr::null_mut(), limits::CALL_BYTES, ProtFlags::READ, MapFlags::SHARED, window.as_fd(), 0)?;
        Ok(slice::from_raw_parts(at.cast(), limits::CALL_BYTES))
    }
}

/// The file that the parent passed beside the standard descriptors.
#[expect(unsafe_code, reason = "borrowing an inherited descriptor")]
fn passed() -> BorrowedFd<'static> {
    // SAFETY: the parent passes it, and nothing here closes it; if it did not, whatever is asked of it fails.
    unsafe { BorrowedFd::borrow_raw(IMAGE_FD) }
}

/// An image that is mapped, none of whose code has run.
struct Loaded {
    wasmtime: Engine,
    component: Component,
    variant: Variant,
}

impl Loaded {
    #[expect(unsafe_code, reason = "deserializing machine code cannot be checked")]
    fn map(variant: Variant, baseline: Baseline, path: &str) -> io::Result<Self> {
        let failed = |e: wasmtime::Error| io::Error::other(format!("the engine image cannot be used: {e:#}"));
        let wasmtime = variant.engine(baseline).map_err(failed)?;
        // SAFETY: the parent passes a file that its `ImageCache` has made itself and authenticated; wasmtime checks version
        // and settings again.
        let component = unsafe { Component::deserialize_file(&wasmtime, path) };
        let component = component.map_err(failed)?;
        // Looks at the file, for which there is no system call later.
        component.initialize_copy_on_write_image().map_err(failed)?;
        Ok(Self { component, wasmtime, variant })
    }

    fn instantiate(
        self,
        socket: UnixStream,
        window: &'static [u8],
        more: impl FnOnce(&mut Linker<Host>) -> wasmtime::Result<()>,
    ) -> Result<Prepared, CellExit> {
        let mut linker = Linker::<Host>::new(&self.wasmtime);
        engine::link(&mut linker).and_then(|()| more(&mut linker)).map_err(image_error)?;
        let mut store = Store::new(&self.wasmtime, Host::new(socket, window));
        store.limiter(|host| host);
        if self.variant == Variant::Metered {
            store.set_fuel(limits::IDLE_FUEL).map_err(image_error)?;
        }
        let engine = QueryEngine::instantiate(&mut store, &self.component, &linker).map_err(image_error)?;
        Ok(Prepared { store, engine })
    }
}

fn image_error(e: wasmtime::Error) -> CellExit {
    CellExit::Image(format!("{e:#}"))
}

struct Prepared {
    store: Store<Host>,
    engine: QueryEngine,
}

impl Prepared {
    fn serve(&mut self, walls: Walls, maps: Maps) -> Result<(), CellExit> {
        maps.prefault()?;
        self.store.data_mut().send(&FromCell::Ready(walls))?;
        let last = match self.store.data_mut().receive()? {
            ToCell::Job(job) => self.run(*job),
            ToCell::Describe => self.describe(),
            ToCell::InWindow => return Err(CellExit::Io(io::ErrorKind::InvalidData.into())),
        };
        self.store.data_mut().send(&last)?;
        // The parent ends the process. Ending by itself, it would hold the processor that the parent is about to wake on.
        let _ = self.store.data_mut().receive();
        Ok(())
    }

    fn run(&mut self, job: JobSpec) -> FromCell {
        let call =
            engine::Job { sql: job.sql.clone(), time_us: job.time_us, seed: job.seed.to_vec(), memory: job.memory };
        let fuel = job.fuel.unwrap_or(u64::MAX);
        // Fails on an image that has no meter, where there is nothing to set.
        let _ = self.store.set_fuel(fuel);
        let (held, may_have) = (self.store.data().memory, job.memory);
        if held > may_have {
            let message =
                format!("Out of Memory Error: the engine starts with {held} bytes, the job may have {may_have}");
            return self.failed(FailKind::Memory, message, fuel);
        }
        self.store.data_mut().take(job);
        match self.engine.call_run(&mut self.store, &call) {
            Ok(Ok(summary)) => FromCell::Done { rows: summary.rows, usage: self.usage(fuel) },
            Ok(Err(failure)) => self.failed(kind_of(failure.kind), failure.message, fuel),
            Err(error) => self.trapped(&error, fuel),
        }
    }

    fn describe(&mut self) -> FromCell {
        // As in `run`.
        let _ = self.store.set_fuel(limits::IDLE_FUEL);
        match self.engine.call_describe(&mut self.store) {
            Ok(engine::Description { name, version, formats, extensions }) => {
                FromCell::Described(Description { name, version, formats, extensions }.bounded())
            }
            Err(error) => self.trapped(&error, limits::IDLE_FUEL),
        }
    }

    fn usage(&self, fuel: u64) -> Usage {
        Usage { fuel: self.store.get_fuel().ok().map(|left| fuel - left), memory: self.store.data().memory }
    }

    fn failed(&self, kind: FailKind, message: String, fuel: u64) -> FromCell {
        FromCell::Failed { kind, message: bounded(message), usage: self.usage(fuel) }
    }

    /// A call that did not return: an outcome if any machine would have ended it so.
    fn trapped(&self, error: &wasmtime::Error, fuel: u64) -> FromCell {
        let host = self.store.data();
        if let Some((lack, message)) = host.lacks.clone() {
            return FromCell::Lacks(lack, message);
        }
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::StackOverflow) {
            let message = format!("the engine used {} bytes of native stack", limits::WASM_STACK);
            return FromCell::Lacks(Lack::Stack, message);
        }
        if error.is::<OutOfMemory>() || error.is::<io::Error>() {
            return FromCell::Lacks(Lack::Memory, bounded(format!("{error:#}")));
        }
        // That its own limits refused it something, whenever that was, is the same on every machine, and so is how it ends then.
        if let Some((kind, message)) = host.refused.clone() {
            return self.failed(kind, message, fuel);
        }
        let (kind, message) = match trap {
            Some(Trap::OutOfFuel) => (FailKind::Fuel, format!("the job used all of its {fuel} units of fuel")),
            Some(trap) => (FailKind::Trap, trap.to_string()),
            None => (FailKind::Trap, error.root_cause().to_string()),
        };
        self.failed(kind, message, fuel)
    }
}

/// A query chooses the length of its error's message; a frame has a largest one.
fn bounded(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(limits::MESSAGE_BYTES));
    message
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

/// Reads the component, checks what it asks for, compiles it, writes the image.
fn compile(
    variant: Variant,
    baseline: Baseline,
    seal: impl FnOnce() -> Result<Walls, CellExit>,
) -> Result<(), CellExit> {
    let bad = |e: wasmtime::Error| CellExit::Compile(format!("{e:#}"));
    let wasmtime = variant.engine(baseline).map_err(bad)?;
    // Its threads start here: afterwards there is no system call to start one.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|e| CellExit::Compile(e.to_string()))?;
    let mut component = vec![];
    File::from(passed().try_clone_to_owned()?).read_to_end(&mut component)?;
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    seal()?;
    let found = inspect(&component).map_err(|e| CellExit::Compile(e.to_string()))?;
    if let Some(refusal) = found.refusal(&CONTRACT) {
        return Err(CellExit::Compile(refusal));
    }
    let image = wasmtime.precompile_component(&component).map_err(bad)?;
    if image.len() as u64 > limits::IMAGE_BYTES {
        return Err(CellExit::Compile(format!(
            "its image has {} bytes, at most {} are kept",
            image.len(),
            limits::IMAGE_BYTES
        )));
    }
    Ok(out.write_all(&image)?)
}
