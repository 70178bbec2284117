//! Running a job: a cell from the pool, its reads and its result.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use eider_net::{Outboard, Source, file_outboard};
use eider_protocol::{FailureKind, Hash, Limits, Metering, Outcome, Progress, Stage, Task};
use eider_sandbox::{Broker, BrokerError, CellError, FailKind, Finished, Input, JobSpec, Pool, Variant};
use parking_lot::RwLock;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::sync::watch;

/// Bytes of a result that are kept in memory: most results, and a file takes longer to make than they to write.
const IN_MEMORY: u64 = 1 << 20;

/// Bytes of the disk that a result takes at a time once it is a file.
const DISK_STEP: u64 = 8 << 20;

/// A job that was dispatched.
#[derive(Clone, Debug)]
pub struct Work {
    /// Query, manifest, time, seed.
    pub task: Task,
    /// What it may use.
    pub limits: Limits,
    /// The engine that runs it.
    pub engine: Hash,
    /// Which of its images.
    pub variant: Variant,
}

/// What a job made: an outcome, and the result's bytes if there are any.
#[derive(Debug)]
pub struct Product {
    /// How it ended.
    pub outcome: Outcome,
    /// The Arrow IPC stream.
    pub result: Option<Kept>,
}

/// Who counts what results take: the disk, and as if it were disk the memory of small ones.
pub trait Disk: Send + Sync {
    /// So many bytes more are about to be written.
    fn take(&self, bytes: u64);
    /// So many are free again.
    fn give_back(&self, bytes: u64);
}

/// Nobody: results of a user's own runs are bounded by their jobs alone.
#[derive(Clone, Copy, Debug)]
pub struct Uncounted;

impl Disk for Uncounted {
    fn take(&self, _: u64) {}
    fn give_back(&self, _: u64) {}
}

/// Bytes that a result has taken, given back when it is dropped.
struct Taken {
    disk: Arc<dyn Disk>,
    bytes: u64,
}

impl Taken {
    fn grow(&mut self, bytes: u64) {
        self.disk.take(bytes);
        self.bytes += bytes;
    }

    /// Gives back what is more than so many bytes.
    fn cut(&mut self, bytes: u64) {
        let more = self.bytes.saturating_sub(bytes);
        if more > 0 {
            self.bytes -= more;
            self.disk.give_back(more);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.cut(0);
    }
}

/// A result: an unlinked file or memory, its tree, and what it takes of the disk's count for as long as this lives.
pub struct Kept {
    /// The Arrow IPC stream.
    pub file: Arc<File>,
    /// Its tree.
    pub outboard: Arc<Outboard>,
    taken: Taken,
    checked: bool,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({}, {} bytes)", self.outboard.root, self.taken.bytes)
    }
}

impl Kept {
    /// What it is streamed from. Nobody else has the file; what the disk gives back otherwise is not sent.
    pub fn source(&self) -> Source {
        Source { bytes: self.file.clone(), outboard: self.outboard.clone(), checked: self.checked }
    }

    /// A result that was made elsewhere, and takes nothing that is counted: for runners of tests.
    #[doc(hidden)]
    pub fn uncounted(file: File, outboard: Outboard) -> Self {
        let taken = Taken { disk: Arc::new(Uncounted), bytes: 0 };
        Self { file: Arc::new(file), outboard: Arc::new(outboard), taken, checked: true }
    }

    /// The same bytes, or what they were changed into, under a tree that nobody compares them with: for workers that lie in tests.
    #[doc(hidden)]
    #[must_use]
    pub fn under(self, outboard: impl Into<Arc<Outboard>>) -> Self {
        Self { outboard: outboard.into(), checked: false, ..self }
    }
}

/// Why a job has no outcome here. Never the query's fault.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cell.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// There is no image for the profile.
    #[error("no {1} image of engine {engine} is loaded", engine = .0.short())]
    NoImage(Hash, Variant),
    /// The result's file.
    #[error("the result cannot be kept: {0}")]
    Spool(#[from] io::Error),
    /// The user's output refused the result of a local run.
    #[error("the result cannot be written: {0}")]
    Output(io::Error),
}

/// A read under way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<(), BrokerError>> + Send + 'a>>;
/// A job under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Product, RunError>> + Send + 'a>>;

/// Where a job's input bytes come from.
pub trait InputReader: Send + Sync {
    /// Fills `into` from `offset` of entry `index`; bounds are checked already.
    fn read<'a>(&'a self, index: u32, offset: u64, into: &'a mut [u8]) -> Reading<'a>;
}

/// Something that runs jobs. The worker's is [`CellRunner`].
pub trait Runner: Send + Sync + 'static {
    /// Runs a job; dropping the future ends it at once.
    fn run<'a>(&'a self, work: Work, inputs: &'a dyn InputReader, progress: watch::Sender<Progress>) -> Running<'a>;
}

/// Cells of the images that there are, which may come and go.
#[derive(Debug, Default)]
pub struct Pools(RwLock<HashMap<(Hash, Variant), Pool>>);

impl Pools {
    /// From now on there are cells of one more image.
    pub fn add(&self, pool: Pool) {
        let key = (pool.image().engine().into(), pool.image().variant());
        self.0.write().insert(key, pool);
    }

    /// No cells of an engine's images any more. Jobs that have theirs go on.
    pub fn remove(&self, engine: &Hash) {
        self.0.write().retain(|(of, _), _| of != engine);
    }

    fn get(&self, engine: Hash, variant: Variant) -> Option<Pool> {
        self.0.read().get(&(engine, variant)).cloned()
    }
}

/// Runs jobs in cells.
pub struct CellRunner {
    pools: Arc<Pools>,
    spool: PathBuf,
    disk: Arc<dyn Disk>,
}

impl CellRunner {
    /// Cells from `pools`; results are counted by `disk`, and those that are not small are kept in unlinked files in `spool`.
    pub fn new(pools: impl IntoIterator<Item = Pool>, spool: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        let all = Pools::default();
        pools.into_iter().for_each(|pool| all.add(pool));
        Self { pools: Arc::new(all), spool: spool.into(), disk }
    }

    /// Its cells, to which others may be added.
    pub fn pools(&self) -> Arc<Pools> {
        self.pools.clone()
    }

    async fn run_in_cell(
        &self,
        work: Work,
        inputs: &dyn InputReader,
        progress: watch::Sender<Progress>,
    ) -> Result<Product, RunError> {
        let pool = self.pools.get(work.engine, work.variant).ok_or(RunError::NoImage(work.engine, work.variant))?;
        let cell = pool.take().await?;
        let spool = File::from(memfd_create("eider-result", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
        progress.send_modify(|p| p.stage = Stage::Running);
        let mut broker = JobBroker {
            inputs,
            spool,
            folder: &self.spool,
            taken: Taken { disk: self.disk.clone(), bytes: 0 },
            written: 0,
            limit: work.limits.result,
            bytes_read: 0,
            reads: 0,
            progress,
        };
        let finished = cell.run(job_spec(work), &mut broker).await?;
        let JobBroker { spool, mut taken, written, bytes_read, reads, .. } = broker;
        let (Finished::Done { usage, .. } | Finished::Failed { usage, .. }) = &finished;
        let metering = Metering { fuel: usage.fuel, bytes_read, reads, memory: usage.memory };
        match finished {
            Finished::Failed { kind, message, .. } => {
                let outcome = Outcome::Failed { kind: failure_kind(kind), message: bounded(message), metering };
                Ok(Product { outcome, result: None })
            }
            Finished::Done { rows, .. } => {
                taken.cut(written);
                let (file, outboard) = hash_spool(spool, written).await?;
                let root = Hash::from(outboard.root);
                Ok(Product {
                    outcome: Outcome::Completed { root, length: written, rows, metering },
                    result: Some(Kept { file: Arc::new(file), outboard: Arc::new(outboard), taken, checked: true }),
                })
            }
        }
    }
}

impl Runner for CellRunner {
    fn run<'a>(&'a self, work: Work, inputs: &'a dyn InputReader, progress: watch::Sender<Progress>) -> Running<'a> {
        Box::pin(self.run_in_cell(work, inputs, progress))
    }
}

/// The tree of a spooled result. Results of at most this size are hashed where we are: less than a thread's start.
async fn hash_spool(mut spool: File, length: u64) -> io::Result<(File, Outboard)> {
    const INLINE: u64 = 256 << 10;
    let hash = move || {
        spool.rewind()?;
        let outboard = file_outboard(&mut spool, length)?;
        Ok((spool, outboard))
    };
    if length <= INLINE {
        return hash();
    }
    tokio::task::spawn_blocking(hash).await.map_err(io::Error::other)?
}

fn job_spec(work: Work) -> JobSpec {
    let d = work.task;
    let input = |e: eider_protocol::InputEntry| Input {
        table: e.table,
        file: e.file,
        format: e.format.word().into(),
        size: e.size,
    };
    JobSpec {
        sql: d.sql,
        time_us: d.time_us,
        seed: d.seed,
        memory: work.limits.memory,
        result: work.limits.result,
        fuel: work.limits.fuel,
        inputs: d.inputs.into_iter().map(input).collect(),
    }
}

fn failure_kind(kind: FailKind) -> FailureKind {
    match kind {
        FailKind::Query => FailureKind::Query,
        FailKind::Denied => FailureKind::Denied,
        FailKind::Input => FailureKind::Input,
        FailKind::Memory => FailureKind::Memory,
        FailKind::Internal => FailureKind::Internal,
        FailKind::Trap => FailureKind::Trap,
        FailKind::Fuel => FailureKind::Fuel,
        FailKind::Result => FailureKind::Result,
        FailKind::Reads => FailureKind::Reads,
    }
}

/// Cut at a character, so that every worker cuts alike.
fn bounded(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(Outcome::MESSAGE_MAX));
    message
}

struct JobBroker<'a> {
    inputs: &'a dyn InputReader,
    /// The result so far: in memory while it is small, then in an unlinked file.
    spool: File,
    folder: &'a Path,
    taken: Taken,
    written: u64,
    limit: u64,
    bytes_read: u64,
    reads: u64,
    progress: watch::Sender<Progress>,
}

impl JobBroker<'_> {
    fn move_to_disk(&mut self) -> io::Result<()> {
        let mut file = tempfile::tempfile_in(self.folder)?;
        self.spool.rewind()?;
        io::copy(&mut self.spool, &mut file)?;
        self.spool = file;
        Ok(())
    }
}

impl Broker for JobBroker<'_> {
    async fn read(&mut self, index: u32, offset: u64, into: &mut [u8]) -> Result<(), BrokerError> {
        self.reads += 1;
        self.bytes_read += into.len() as u64;
        self.inputs.read(index, offset, into).await?;
        self.progress.send_modify(|p| p.bytes_read = self.bytes_read);
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), BrokerError> {
        let before = self.written;
        self.written += bytes.len() as u64;
        if before <= IN_MEMORY && self.written > IN_MEMORY {
            self.move_to_disk().map_err(BrokerError::Spool)?;
        }
        // Room is made before it is needed, and for a file in steps: making it can mean deleting inputs that no job uses.
        if self.written > self.taken.bytes {
            let short = self.written - self.taken.bytes;
            let step = if self.written <= IN_MEMORY { short } else { short.next_multiple_of(DISK_STEP) };
            self.taken.grow(step.min(self.limit - self.taken.bytes));
        }
        // A write to the page cache: shorter than a hop to another thread, except when the disk is behind.
        self.spool.write_all(&bytes).map_err(BrokerError::Spool)
    }

    fn progress(&mut self, done: u32) {
        self.progress.send_modify(|p| p.done = done);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Disk for Counting {
        fn take(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn give_back(&self, bytes: u64) {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    struct Nothing;

    impl InputReader for Nothing {
        fn read<'a>(&'a self, _: u32, _: u64, _: &'a mut [u8]) -> Reading<'a> {
            Box::pin(std::future::ready(Err(BrokerError::InputUnavailable("t".into(), "there is none".into()))))
        }
    }

    fn broker(folder: &Path, disk: Arc<Counting>, limit: u64) -> JobBroker<'_> {
        let (progress, _) = watch::channel(Progress { stage: Stage::Running, done: 0, bytes_read: 0 });
        JobBroker {
            inputs: &Nothing,
            spool: tempfile::tempfile_in(folder).unwrap(),
            folder,
            taken: Taken { disk, bytes: 0 },
            written: 0,
            limit,
            bytes_read: 0,
            reads: 0,
            progress,
        }
    }

    #[tokio::test]
    async fn a_result_counts_from_its_first_byte_and_never_for_more_than_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        for limit in [1, 1000, IN_MEMORY, IN_MEMORY + 1, DISK_STEP, 3 * DISK_STEP + 5] {
            let disk = Arc::new(Counting::default());
            let mut broker = broker(dir.path(), disk.clone(), limit);
            while broker.written < limit {
                let piece = (limit - broker.written).min(300_000);
                broker.write(vec![7; usize::try_from(piece).unwrap()]).await.unwrap();
                let taken = disk.0.load(Ordering::Relaxed);
                assert!((broker.written..=limit).contains(&taken), "{taken} bytes for {}", broker.written);
                assert!(broker.written > IN_MEMORY || taken == broker.written, "{taken}");
            }
            drop(broker);
            assert_eq!(disk.0.load(Ordering::Relaxed), 0);
        }
    }

    #[tokio::test]
    async fn a_result_that_is_whole_gives_back_what_it_does_not_need() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Counting::default());
        let mut broker = broker(dir.path(), disk.clone(), 1 << 30);
        broker.write(vec![7; 2 << 20]).await.unwrap();
        assert_eq!(disk.0.load(Ordering::Relaxed), DISK_STEP);
        let JobBroker { mut taken, written, .. } = broker;
        taken.cut(written);
        assert_eq!(disk.0.load(Ordering::Relaxed), 2 << 20);
        drop(taken);
        assert_eq!(disk.0.load(Ordering::Relaxed), 0);
    }
}
