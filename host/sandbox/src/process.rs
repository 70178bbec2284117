//! The parent's side of a cell: starting it, brokering what it asks, killing it.

use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use memmap2::MmapMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::cell::{CellOptions, CellTask, IMAGE_FD};
use crate::jail::{Wall, Walls};
use crate::limits;
use crate::wire::{self, Description, FailKind, FromCell, HEADER, JobSpec, Lack, ToCell, Usage};
use crate::{Baseline, CellGroup, Image};

/// A cell that is not ready by then is given up. It takes 50 ms of processor time, which those that are to yield to all others
/// may wait for.
const READY_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a process whose socket is gone has to end by itself and say why.
const DEATH_TIMEOUT: Duration = Duration::from_secs(5);

/// How to start a cell: `program cell OPTIONS`.
#[derive(Clone, Debug)]
pub struct CellCommand {
    /// The program, usually the running one.
    pub program: PathBuf,
    /// The instructions of its images: [`Baseline::HERE`] but in comparisons.
    pub baseline: Baseline,
    /// Linear memory that any job may have, bytes.
    pub memory: u64,
    /// Private memory that compiling an engine may take, bytes; no more than [`limits::COMPILE_MEMORY`].
    pub compile_memory: u64,
    /// Run only when nothing else wants the processor.
    pub idle: bool,
    /// Layers of the jail without which no cell runs, beside the floor.
    pub require: Vec<Wall>,
    /// The control group that all of them are in, if there is one.
    pub group: Option<CellGroup>,
}

impl CellCommand {
    /// Cells of `program` with the default walls, at ordinary priority.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            baseline: Baseline::HERE,
            memory: 4 << 30,
            compile_memory: limits::COMPILE_MEMORY,
            idle: false,
            require: vec![],
            group: None,
        }
    }

    /// The arguments of a cell for `task`.
    pub(crate) fn args(&self, task: CellTask) -> Vec<String> {
        let Self { baseline, mut memory, compile_memory, idle, require, .. } = self.clone();
        if matches!(task, CellTask::Compile(_)) {
            memory = compile_memory.min(limits::COMPILE_MEMORY);
        }
        let mut args = vec!["cell".to_string()];
        args.extend(CellOptions { task, baseline, memory, idle, require }.to_args());
        args
    }
}

/// Puts the walls up in a process of its own and says which of them stand on this machine.
///
/// # Errors
/// [`CellError`].
pub async fn probe_walls(command: &CellCommand) -> Result<Walls, CellError> {
    let null = File::open("/dev/null").map_err(CellError::Spawn)?;
    Ok(Cell::start(command, CellTask::Probe, null.into()).await?.walls)
}

/// Answers what a running job asks of its parent.
pub trait Broker: Send {
    /// Fills `into` from `offset` of an input. Bounds are checked already. What is in `into` before is not to be read: the
    /// cell can write there.
    fn read(
        &mut self,
        index: u32,
        offset: u64,
        into: &mut [u8],
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
    /// The next bytes of the result.
    fn write(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), BrokerError>> + Send;
    /// How much of the query is done, 1/10000.
    fn progress(&mut self, done: u32);
}

/// Why a broker ends a job.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An input cannot be had.
    #[error("input {0:?} cannot be had: {1}")]
    InputUnavailable(String, String),
    /// An input is not what was pinned.
    #[error("input {0:?} changed: {1}")]
    InputChanged(String, String),
    /// This machine's disk.
    #[error("the result cannot be kept: {0}")]
    Spool(std::io::Error),
}

/// Why a cell gave no outcome. Never the query's fault.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// No process.
    #[error("a cell cannot be started: {0}")]
    Spawn(std::io::Error),
    /// It ended, or closed its socket, before the job did.
    #[error("the cell ended before the job did ({0})")]
    Died(String),
    /// It said what makes no sense.
    #[error("the cell broke its protocol")]
    Protocol,
    /// The machine has less than the job may use.
    #[error("{1}")]
    Lacks(Lack, String),
    /// What it asked for was refused.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// How a run ended by the engine's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// With a result, all of which the broker has.
    Done {
        /// Rows.
        rows: u64,
        /// What it took.
        usage: Usage,
    },
    /// With a failure; what the broker has of a result is void.
    Failed {
        /// Whose fault.
        kind: FailKind,
        /// The message.
        message: String,
        /// What it took until then.
        usage: Usage,
    },
}

/// A child process that is ready for one job. Dropping it kills it.
#[derive(Debug)]
pub struct Cell {
    child: Child,
    socket: UnixStream,
    window: MmapMut,
    walls: Walls,
}

impl Cell {
    /// Starts a process and waits until its instance stands.
    ///
    /// # Errors
    /// [`CellError::Spawn`], [`CellError::Died`].
    pub async fn spawn(command: &CellCommand, image: &Image) -> Result<Self, CellError> {
        let file = image.file.try_clone().map_err(CellError::Spawn)?;
        Self::start(command, CellTask::Run(image.variant), file.into()).await
    }

    #[expect(unsafe_code, reason = "entering a control group before exec")]
    async fn start(command: &CellCommand, task: CellTask, passed: OwnedFd) -> Result<Self, CellError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(CellError::Spawn)?;
        ours.set_nonblocking(true).map_err(CellError::Spawn)?;
        let (window, theirs_too) = window().map_err(CellError::Spawn)?;
        let mut process = Command::new(&command.program);
        process
            .args(command.args(task))
            .env_clear()
            // The allocator would reserve 1 GiB, all of which counts against the cell's limit of private memory.
            .env("MIMALLOC_ARENA_RESERVE", "32MiB")
            // Its huge pages would be most of an idle cell's memory.
            .env("MIMALLOC_ALLOW_THP", "0")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(theirs_too))
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let passed = vec![FdMapping { parent_fd: passed, child_fd: IMAGE_FD }];
        if let Some(group) = command.group.clone() {
            // SAFETY: between fork and exec it does nothing but write to an open descriptor.
            unsafe { process.pre_exec(move || group.enter()) };
        }
        process.as_std_mut().fd_mappings(passed).map_err(|e| CellError::Spawn(std::io::Error::other(e)))?;
        let child = process.spawn().map_err(CellError::Spawn)?;
        // It holds the cell's end of the socket, whose closing is how we learn that the cell ended.
        drop(process);
        let socket = UnixStream::from_std(ours).map_err(CellError::Spawn)?;
        let mut cell = Self { child, socket, window, walls: Walls::default() };
        match tokio::time::timeout(READY_TIMEOUT, cell.receive()).await {
            Ok(Ok(FromCell::Ready(walls))) => {
                cell.walls = walls;
                Ok(cell)
            }
            Ok(Ok(_)) => Err(CellError::Protocol),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(CellError::Died("not ready in time".into())),
        }
    }

    /// The process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What stands around it, by its own word before it ran anything.
    pub fn walls(&self) -> &Walls {
        &self.walls
    }

    /// Ready when a cell that waits for its job has ended. It says nothing then, so that word of it is word of its end.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let _ = ready!(self.socket.poll_read_ready(cx));
            match self.socket.try_read(&mut [0]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// As [`Self::poll_ended`], by asking the kernel; also whether the outer process has ended, whose end is the inner one's
    /// a moment later.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0)) || !matches!(self.child.try_wait(), Ok(None))
    }

    /// Runs the job. The cell is used up; when this future is dropped, its process is killed.
    ///
    /// # Errors
    /// [`CellError`].
    pub async fn run(mut self, job: JobSpec, broker: &mut impl Broker) -> Result<Finished, CellError> {
        let (inputs, may_read) = (job.inputs.clone(), job.may_read());
        let (mut calls, mut bytes_read, mut written, may_write) = (0u64, 0u64, 0u64, job.result);
        self.send(&ToCell::Job(Box::new(job))).await?;
        loop {
            match self.receive().await? {
                FromCell::Read { index, offset, length } => {
                    // The cell checked this for its guest; we check it for the cell.
                    let input = inputs.get(index as usize).ok_or(CellError::Protocol)?;
                    let end = offset.checked_add(u64::from(length)).ok_or(CellError::Protocol)?;
                    if end > input.size || length as usize > limits::CALL_BYTES {
                        return Err(CellError::Protocol);
                    }
                    (calls, bytes_read) = (calls + 1, bytes_read + u64::from(length));
                    if calls > limits::READ_CALLS || bytes_read > may_read {
                        return Err(CellError::Protocol);
                    }
                    broker.read(index, offset, &mut self.window[..length as usize]).await?;
                    self.send(&ToCell::InWindow).await?;
                }
                FromCell::Result(bytes) => {
                    written += bytes.len() as u64;
                    if written > may_write {
                        return Err(CellError::Protocol);
                    }
                    broker.write(bytes).await?;
                }
                FromCell::Progress(done) => broker.progress(done.min(10_000)),
                FromCell::Done { rows, usage } => return Ok(Finished::Done { rows, usage }),
                FromCell::Failed { kind, message, usage } => return Ok(Finished::Failed { kind, message, usage }),
                FromCell::Lacks(lack, message) => return Err(CellError::Lacks(lack, message)),
                FromCell::Ready(_) | FromCell::Described(_) => return Err(CellError::Protocol),
            }
        }
    }

    /// What the engine says that it is, or why it does not. The cell is used up.
    ///
    /// # Errors
    /// [`CellError`].
    pub async fn describe(mut self) -> Result<Result<Description, String>, CellError> {
        self.send(&ToCell::Describe).await?;
        match self.receive().await? {
            FromCell::Described(description) => Ok(Ok(description.bounded())),
            FromCell::Failed { message, .. } => Ok(Err(message)),
            FromCell::Lacks(lack, message) => Err(CellError::Lacks(lack, message)),
            // Nothing else can be wanted before there is a job.
            _ => Err(CellError::Protocol),
        }
    }

    async fn send(&mut self, message: &ToCell) -> Result<(), CellError> {
        match self.socket.write_all(&message.encode()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.death().await),
        }
    }

    async fn receive(&mut self) -> Result<FromCell, CellError> {
        let mut header = [0; HEADER];
        if self.socket.read_exact(&mut header).await.is_err() {
            return Err(self.death().await);
        }
        let (kind, n) = wire::payload_length(header).ok_or(CellError::Protocol)?;
        let mut payload = vec![0; n];
        if self.socket.read_exact(&mut payload).await.is_err() {
            return Err(self.death().await);
        }
        FromCell::decode(kind, payload).ok_or(CellError::Protocol)
    }

    /// What became of a process whose socket is gone, with the end of what it said.
    async fn death(&mut self) -> CellError {
        let mut said = vec![];
        if let Some(stderr) = self.child.stderr.take() {
            let _ = tokio::time::timeout(DEATH_TIMEOUT, stderr.take(limits::LOG_BYTES).read_to_end(&mut said)).await;
        }
        let status = match tokio::time::timeout(DEATH_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "no exit status".into(),
        };
        let said = String::from_utf8_lossy(&said);
        CellError::Died([status.as_str(), said.trim()].join(" ").trim().to_string())
    }
}

/// Memory that a cell maps and its parent writes input ranges to. Of fixed size, so that neither can take it from under
/// the other; the parent never reads it.
#[expect(unsafe_code, reason = "mapping memory that another process can write")]
fn window() -> std::io::Result<(MmapMut, File)> {
    let window = memfd_create("eider-window", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&window, limits::CALL_BYTES as u64)?;
    fcntl_add_seals(&window, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    // SAFETY: the size is sealed, and all that is done with the mapping is to have the kernel or `copy_from_slice` write
    // to it, whose outcome for us does not depend on what the cell does there meanwhile.
    let map = unsafe { MmapMut::map_mut(&window)? };
    Ok((map, window.into()))
}
