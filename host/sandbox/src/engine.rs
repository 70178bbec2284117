//! The engine contract as wasmtime sees it, and the store's state behind its imports.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{ResourceLimiter, Result, StoreContextMut, bail};

use crate::limits;
use crate::wire::{self, FailKind, FromCell, HEADER, JobSpec, Lack, ToCell};

wasmtime::component::bindgen!({
    path: "../../guest/wit",
    world: "query-engine",
    imports: { default: trappable },
});

/// wasmtime's words for a growth that no machine would grant. Any others end the job without an outcome, and a program of the
/// tests grows past its type, so that other words of a later version are noticed.
const BEYOND_ITS_TYPE: &str = "memory growth exceeds memory type's limits";

/// What an engine's imports act on: the socket to the parent, the window that it puts input ranges into, and the job once
/// there is one.
pub struct Host {
    socket: UnixStream,
    window: &'static [u8],
    job: Option<JobSpec>,
    /// Bytes that the job may read in all.
    may_read: u64,
    /// Memory in use, bytes: all linear memories, and collected memory if there is any.
    pub(crate) memory: u64,
    /// Entries of all tables.
    table_entries: usize,
    /// `read` calls, and bytes that they asked for.
    reads: (u64, u64),
    /// Bytes of the result so far.
    written: u64,
    /// What was refused last: what fails next fails for want of it.
    pub(crate) refused: Option<(FailKind, String)>,
    /// What the machine could not give: the job has no outcome here.
    pub(crate) lacks: Option<(Lack, String)>,
    /// When a progress report left last.
    reported: Option<Instant>,
}

impl Host {
    pub(crate) fn new(socket: UnixStream, window: &'static [u8]) -> Self {
        Self {
            socket,
            window,
            job: None,
            may_read: 0,
            memory: 0,
            table_entries: 0,
            reads: (0, 0),
            written: 0,
            refused: None,
            lacks: None,
            reported: None,
        }
    }

    /// From now on the engine runs for this job.
    pub(crate) fn take(&mut self, job: JobSpec) {
        self.may_read = job.may_read();
        self.job = Some(job);
    }

    pub(crate) fn send(&mut self, message: &FromCell) -> std::io::Result<()> {
        self.socket.write_all(&message.encode())
    }

    pub(crate) fn receive(&mut self) -> std::io::Result<ToCell> {
        let mut header = [0; HEADER];
        self.socket.read_exact(&mut header)?;
        let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let (kind, n) = wire::payload_length(header).ok_or_else(bad)?;
        let mut payload = vec![0; n];
        self.socket.read_exact(&mut payload)?;
        ToCell::decode(kind, &payload).ok_or_else(bad)
    }
}

/// Adds the contract's imports, all of them and nothing else.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    eider::engine::results::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    eider::engine::progress::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    // By hand: a range goes from the window into the engine's memory, without the `Vec` that generated code would want.
    let mut inputs = linker.instance("eider:engine/inputs@1.0.0")?;
    inputs.func_wrap("list", |cx: StoreContextMut<'_, Host>, ()| Ok((cx.data().list(),)))?;
    inputs.func_wrap("read", |mut cx: StoreContextMut<'_, Host>, (index, offset, len): (u32, u64, u32)| {
        Ok((cx.data_mut().read(index, offset, len)?,))
    })
}

impl Host {
    fn inputs(&self) -> &[wire::Input] {
        self.job.as_ref().map_or(&[], |j| &j.inputs)
    }

    /// A start function has nothing to say to the parent, which waits for the cell to be ready.
    fn needs_job(&self) -> Result<()> {
        if self.job.is_none() {
            bail!("there is no job yet");
        }
        Ok(())
    }

    /// Ends the job: what it asked for is over its limit.
    fn refuse<T>(&mut self, kind: FailKind, message: String) -> Result<T> {
        self.refused = Some((kind, message.clone()));
        bail!(message)
    }

    pub(crate) fn list(&self) -> Vec<eider::engine::inputs::Input> {
        let input = |i: &wire::Input| eider::engine::inputs::Input {
            table: i.table.clone(),
            file: i.file.clone(),
            format: i.format.clone(),
            size: i.size,
        };
        self.inputs().iter().map(input).collect()
    }

    pub(crate) fn read(&mut self, index: u32, offset: u64, len: u32) -> Result<&'static [u8]> {
        let Some(input) = self.inputs().get(index as usize) else { bail!("there is no input {index}") };
        let end = offset.checked_add(u64::from(len));
        if len as usize > limits::CALL_BYTES || end.is_none_or(|e| e > input.size) {
            bail!("read of {len} bytes at {offset} of an input of {} bytes", input.size);
        }
        self.reads = (self.reads.0 + 1, self.reads.1 + u64::from(len));
        let ((calls, bytes), may_read) = (self.reads, self.may_read);
        if calls > limits::READ_CALLS || bytes > may_read {
            let may = limits::READ_CALLS;
            return self.refuse(
                FailKind::Reads,
                format!("the job read {bytes} bytes in {calls} calls; it may read {may_read} bytes in {may} calls"),
            );
        }
        self.send(&FromCell::Read { index, offset, length: len })?;
        match self.receive()? {
            ToCell::InWindow => Ok(&self.window[..len as usize]),
            ToCell::Job(_) | ToCell::Describe => bail!("the parent did not answer a read"),
        }
    }
}

impl eider::engine::results::Host for Host {
    fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.needs_job()?;
        if bytes.len() > limits::CALL_BYTES {
            bail!("write of {} bytes at once", bytes.len());
        }
        self.written += bytes.len() as u64;
        let most = self.job.as_ref().map_or(0, |j| j.result);
        if self.written > most {
            return self
                .refuse(FailKind::Result, format!("the result is larger than the {most} bytes that the job allows"));
        }
        Ok(self.send(&FromCell::Result(bytes))?)
    }
}

impl eider::engine::progress::Host for Host {
    fn report(&mut self, done: u32) -> Result<()> {
        self.needs_job()?;
        const PAUSE: Duration = Duration::from_millis(1000 / limits::PROGRESS_PER_SECOND as u64);
        if self.reported.is_some_and(|last| last.elapsed() < PAUSE) {
            return Ok(());
        }
        self.reported = Some(Instant::now());
        Ok(self.send(&FromCell::Progress(done.min(10_000)))?)
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // It fails by the engine's own declaration, and must not be counted.
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        let limit = self.job.as_ref().map_or(limits::IDLE_MEMORY, |j| j.memory);
        let all = self.memory.saturating_add(desired.saturating_sub(current) as u64);
        let fits = all <= limit;
        if fits {
            self.memory = all;
        } else {
            let message = format!("Out of Memory Error: the engine wanted {all} bytes, the job may have {limit}");
            self.refused = Some((FailKind::Memory, message));
        }
        Ok(fits)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        let all = self.table_entries.saturating_add(desired.saturating_sub(current));
        let fits = all <= limits::TABLE_ENTRIES;
        if fits {
            self.table_entries = all;
        }
        Ok(fits)
    }

    /// Refused by the type, it is refused anywhere. Else the kernel refused what the job may have: told to the engine, that
    /// would be an outcome of this machine's.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        if error.to_string() == BEYOND_ITS_TYPE {
            return Ok(());
        }
        self.lacks = Some((Lack::Memory, format!("the machine has no memory for what the job may have: {error:#}")));
        Err(error)
    }

    /// Past what its type or an address can count; a machine that has no memory for it ends the job by itself.
    fn table_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        Ok(())
    }

    fn instances(&self) -> usize {
        limits::INSTANCES
    }

    fn tables(&self) -> usize {
        limits::INSTANCES
    }

    fn memories(&self) -> usize {
        limits::INSTANCES
    }
}
