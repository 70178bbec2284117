//! One run of an engine in a cell, and all that was seen of it. What this test knows of the sandbox's API is here.

use std::time::{Duration, Instant};

use eider_sandbox::{
    Broker, BrokerError, Cell, CellCommand, CellError, FailKind, Finished, Image, Input, JobSpec, Lack, Usage,
};
use eider_tests::process;

/// Bytes of one `read` or `write`, as `guest/wit/engine.wit` has it.
const CALL_MAX: usize = 16 << 20;
/// Result that the broker takes.
pub(crate) const RESULT_MAX: u64 = 40 << 20;
/// As much of a result is kept to be looked at.
const KEPT: usize = 1 << 20;
/// What a program that must be killed is left to do.
const KILLED_AFTER: Duration = Duration::from_secs(1);
/// A cell whose start does not end is killed as well, later, since a busy machine starts slowly.
const KILLED_AT_START: Duration = Duration::from_millis(1500);
/// A program that should end and does not.
const PATIENCE: Duration = Duration::from_secs(60);

/// The inputs of every job: small, larger than one call may be, and one byte that must not get out.
pub(crate) const SIZES: [u64; 3] = [1000, 40 << 20, 1];

/// Byte `at` of input `index`.
pub(crate) fn input_byte(index: u32, at: u64, secret: u8) -> u8 {
    match index {
        2 => secret,
        // No two neighbouring pages are alike.
        _ => (at.wrapping_mul(31) ^ (at >> 8)) as u8,
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No cell stands with it.
    Refused(String),
    /// With a result.
    Completed {
        /// By its own word.
        rows: u64,
        /// What it took.
        usage: Usage,
    },
    /// With a failure.
    Failed(FailKind, String),
    /// Without an outcome, for what the machine lacks.
    Lacks(Lack, String),
    /// By this test.
    Killed,
    /// The process ended, or said what makes no sense. Nothing may do that.
    Died(String),
}

/// All that left a cell, and what its process took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) end: End,
    /// The first [`KEPT`] bytes of the result.
    pub(crate) result: Vec<u8>,
    /// Bytes of the result.
    pub(crate) written: u64,
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    /// The last range that was asked for.
    pub(crate) last_read: Option<(u32, u64, usize)>,
    pub(crate) reports: u64,
    /// The last.
    pub(crate) progress: Option<u32>,
    /// Highest resident memory of the process that was seen, bytes.
    pub(crate) resident: u64,
}

impl Seen {
    /// An end, and nothing before it.
    pub(crate) fn nothing(end: End) -> Self {
        Self {
            end,
            result: vec![],
            written: 0,
            writes: 0,
            reads: 0,
            last_read: None,
            reports: 0,
            progress: None,
            resident: 0,
        }
    }
}

/// Serves the inputs and bounds the result, as a parent does; asserts that nothing out of range arrives.
struct Strict {
    secret: u8,
    seen: Seen,
}

impl Broker for Strict {
    async fn read(&mut self, index: u32, offset: u64, into: &mut [u8]) -> Result<(), BrokerError> {
        let (size, length) = (SIZES[index as usize], into.len());
        let end = offset.checked_add(length as u64).unwrap();
        assert!(end <= size && length <= CALL_MAX, "{length} bytes at {offset} of {size} reached the broker");
        self.seen.reads += 1;
        self.seen.last_read = Some((index, offset, length));
        into.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = input_byte(index, at, self.secret));
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), BrokerError> {
        assert!(bytes.len() <= CALL_MAX, "{} bytes at once reached the broker", bytes.len());
        self.seen.writes += 1;
        self.seen.written += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.seen.result.len());
        self.seen.result.extend(bytes.into_iter().take(room));
        assert!(self.seen.written <= RESULT_MAX, "{} bytes of a result reached the broker", self.seen.written);
        Ok(())
    }

    fn progress(&mut self, done: u32) {
        assert!(done <= 10_000, "progress {done} reached the broker");
        self.seen.reports += 1;
        self.seen.progress = Some(done);
    }
}

/// What a run is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Linear memory, bytes.
    pub(crate) memory: u64,
    /// Fuel, on a metered image.
    pub(crate) fuel: Option<u64>,
    /// How many of the inputs.
    pub(crate) inputs: usize,
    /// What the last input holds.
    pub(crate) secret: u8,
    /// It is expected to go on until it is killed.
    pub(crate) kill: bool,
}

pub(crate) fn cells() -> CellCommand {
    CellCommand::new(eider_tests::eider())
}

/// Runs one job.
pub(crate) async fn run(image: &Image, terms: Terms) -> Seen {
    let mut broker = Strict { secret: terms.secret, seen: Seen::nothing(End::Killed) };
    let mut process = Process::default();
    let ready = std::cell::Cell::new(None);
    let started = Instant::now();
    let end = {
        let mut life = std::pin::pin!(live(image, terms, &mut broker, &ready));
        loop {
            tokio::select! {
                end = &mut life => break Some(end),
                () = tokio::time::sleep(Duration::from_millis(4)) => process.look(),
            }
            let is_late = match ready.get() {
                _ if !terms.kill => started.elapsed() > PATIENCE,
                Some(ready) => Instant::elapsed(&ready) > KILLED_AFTER,
                None => started.elapsed() > KILLED_AT_START,
            };
            if is_late {
                process.look();
                assert!(!process.pids.is_empty(), "there is no process to kill");
                break None;
            }
        }
    };
    process.gone().await;
    Seen { end: end.unwrap_or(End::Killed), resident: process.resident, ..broker.seen }
}

fn job(terms: Terms) -> JobSpec {
    let input = |(i, size): (usize, &u64)| Input {
        table: format!("t{i}"),
        file: format!("t{i}/known.csv"),
        format: "csv".into(),
        size: *size,
    };
    JobSpec {
        sql: "SELECT 1".into(),
        time_us: 0,
        seed: [7; 32],
        memory: terms.memory,
        result: RESULT_MAX,
        fuel: terms.fuel,
        inputs: SIZES.iter().take(terms.inputs).enumerate().map(input).collect(),
    }
}

async fn live(image: &Image, terms: Terms, broker: &mut Strict, ready: &std::cell::Cell<Option<Instant>>) -> End {
    let cell = match Cell::spawn(&cells(), image).await {
        Ok(cell) => cell,
        // It said why and ended: a refusal. A signal, or silence, is a death.
        Err(CellError::Died(why)) if why.contains("exit status: 1 ") => return End::Refused(why),
        Err(e) => return End::Died(format!("{e:?}")),
    };
    ready.set(Some(Instant::now()));
    match cell.run(job(terms), broker).await {
        Ok(Finished::Done { rows, usage }) => End::Completed { rows, usage },
        Ok(Finished::Failed { kind, message, .. }) => End::Failed(kind, message),
        Err(CellError::Lacks(lack, message)) => End::Lacks(lack, message),
        Err(e) => End::Died(format!("{e:?}")),
    }
}

/// The processes that this thread has started, and theirs: the cell's alone, since each test has its own thread.
#[derive(Default)]
struct Process {
    pids: Vec<u32>,
    resident: u64,
}

impl Process {
    fn look(&mut self) {
        for pid in process::descendants_of_thread() {
            if !self.pids.contains(&pid) {
                self.pids.push(pid);
            }
            self.resident = self.resident.max(process::memory(pid, "VmHWM"));
        }
    }

    /// Waits until there is none of them any more.
    async fn gone(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Some(pid) = self.pids.iter().find(|p| process::is_alive(**p)) {
            assert!(Instant::now() < deadline, "process {pid} is still there");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
