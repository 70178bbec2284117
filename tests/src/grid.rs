//! Worker processes on loopback, honest and not, and jobs on them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use eider_core::Plan;
use eider_node::{
    Candidate, EngineBinary, InputArg, Inputs, JobRecord, JobRequest, MemorySink, Notice, Requester, Requirement, Sink,
    Work,
};
use eider_protocol::{DataClass, Identity, Limits, Task};
use eider_sandbox::Variant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How a worker of a test grid behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Behaviour {
    /// The shipped binary.
    Honest,
    /// Commits to a result with one byte changed.
    WrongCommit,
    /// Commits rightly and delivers other bytes.
    WrongBytes,
    /// Never commits, and says all the while that it works.
    Stall,
    /// Commits rightly, and has a disk that gives back another byte.
    BadDisk,
    /// Runs rightly, and commits two seconds late.
    Slow,
}

/// Folder of the built programs: tests run in `deps`, programs beside them.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().map(Path::to_owned).unwrap_or_default();
    if dir.ends_with("deps") { dir.parent().map(Path::to_owned).unwrap_or_default() } else { dir }
}

/// The program under test.
pub fn eider() -> PathBuf {
    target_dir().join("eider")
}

/// Compiled engines are shared by all tests, for compiling takes a minute.
pub fn engine_cache() -> PathBuf {
    std::env::var_os("EIDER_CACHE").map_or_else(|| target_dir().join("eider-cache"), PathBuf::from)
}

/// A program that is killed when the thread that starts it ends, also by a SIGKILL of this process.
fn tied_to_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Workers that live as long as this does.
pub struct Grid {
    dir: tempfile::TempDir,
    program: PathBuf,
    workers: Vec<(Child, Candidate)>,
    requester: Requester,
}

/// A job for a test grid.
#[derive(Clone, Debug)]
pub struct Job {
    /// The query.
    pub sql: String,
    /// `name=path`.
    pub inputs: Vec<String>,
    /// k, quorum and times.
    pub plan: Plan,
    /// Metered or plain.
    pub variant: Variant,
    /// Seed of randomness.
    pub seed: [u8; 32],
    /// Memory of the sandbox, bytes.
    pub memory: u64,
    /// Largest result, bytes.
    pub result: u64,
    /// What its workers must prove.
    pub attest: Option<Requirement>,
}

/// What a job gave.
pub struct Ran {
    /// Its record.
    pub record: JobRecord,
    /// The bytes that reached the output.
    pub bytes: Vec<u8>,
}

impl Ran {
    /// The result as CSV without header.
    ///
    /// # Errors
    /// When it is no Arrow IPC stream.
    pub fn csv(&self) -> Result<String> {
        let reader = arrow::ipc::reader::StreamReader::try_new(&self.bytes[..], None)?;
        let mut out = vec![];
        let mut writer = arrow::csv::WriterBuilder::new().with_header(false).build(&mut out);
        for batch in reader {
            writer.write(&batch?)?;
        }
        drop(writer);
        Ok(String::from_utf8(out)?)
    }

    /// The fate of worker `i` of the grid that ran the job.
    pub fn fate(&self, grid: &Grid, i: usize) -> String {
        let node = grid.workers[i].1.node;
        self.record.peers.iter().find(|p| p.node == node).map_or_else(String::new, |p| p.fate.to_string())
    }
}

impl Job {
    /// Three workers, two of which must agree.
    pub fn new(sql: &str) -> Self {
        Self {
            sql: sql.into(),
            inputs: vec![],
            plan: Plan::default(),
            variant: Variant::Plain,
            seed: [7; 32],
            memory: 1 << 30,
            result: 4 << 30,
            attest: None,
        }
    }
    /// With other k and quorum.
    #[must_use]
    pub fn of(mut self, k: usize, quorum: usize) -> Self {
        self.plan = Plan { stall_ms: self.plan.stall_ms, ..Plan::new(k, quorum, self.plan.deadline_ms) };
        self
    }
    /// With an input.
    #[must_use]
    pub fn input(mut self, name: &str, path: &Path) -> Self {
        self.inputs.push(format!("{name}={}", path.display()));
        self
    }
}

/// The node's request for a job, for these candidates.
///
/// # Errors
/// Inputs that cannot be pinned.
pub fn request_of(job: &Job, candidates: Vec<Candidate>) -> Result<JobRequest> {
    let args: Vec<InputArg> =
        job.inputs.iter().map(|i| i.parse().map_err(anyhow::Error::msg)).collect::<Result<_>>()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(JobRequest {
        sql: job.sql.clone(),
        inputs: Inputs::pin(&args, &std::env::temp_dir(), |_, _, _| {})?,
        candidates,
        plan: job.plan,
        engine: EngineBinary::built_in()?.hash,
        variant: job.variant,
        class: job.attest.as_ref().map_or(DataClass::Public, |a| a.policy.class),
        attest: job.attest.clone(),
        limits: Limits {
            memory: job.memory,
            result: job.result,
            run_ms: job.plan.deadline_ms.min(600_000),
            fuel: None,
        },
        time_us: i64::try_from(now.as_micros())?,
        seed: job.seed,
    })
}

/// What a job is in the local sandbox, and its inputs.
///
/// # Errors
/// As [`request_of`].
pub fn work_of(job: &Job) -> Result<(Work, Inputs)> {
    let request = request_of(job, vec![])?;
    let inputs = request.inputs.entries();
    let task = Task { sql: request.sql, inputs, time_us: request.time_us, seed: request.seed, salt: [0; 32] };
    Ok((Work { task, limits: request.limits, engine: request.engine, variant: job.variant }, request.inputs))
}

impl Grid {
    /// Starts one worker for each behaviour. `extra` goes to each one's command line.
    ///
    /// # Errors
    /// A worker that does not come up.
    pub fn start(behaviours: &[Behaviour], extra: &[&str]) -> Result<Self> {
        Self::start_of(&eider(), behaviours, extra)
    }

    /// The same, whose honest workers are of another program.
    ///
    /// # Errors
    /// A worker that does not come up.
    pub fn start_of(program: &Path, behaviours: &[Behaviour], extra: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let identity = Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?;
        let program = program.to_owned();
        let mut grid =
            Self { dir, program, workers: vec![], requester: Requester::new(identity, std::env::temp_dir()) };
        for behaviour in behaviours {
            grid.add(*behaviour, extra)?;
        }
        Ok(grid)
    }

    /// One more worker.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn add(&mut self, behaviour: Behaviour, extra: &[&str]) -> Result<()> {
        let worker = self.spawn(self.workers.len(), behaviour, extra)?;
        self.workers.push(worker);
        Ok(())
    }

    /// Starts worker `i` anew, an honest one, with the key and caches that it left.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self, i: usize, extra: &[&str]) -> Result<()> {
        self.kill(i);
        self.workers[i] = self.spawn(i, Behaviour::Honest, extra)?;
        Ok(())
    }

    /// Folder of worker `i`: its key and what it caches.
    pub fn home(&self, i: usize) -> PathBuf {
        self.dir.path().join(i.to_string())
    }

    /// Folder for temporary files of all workers.
    pub fn temp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    fn spawn(&self, i: usize, behaviour: Behaviour, extra: &[&str]) -> Result<(Child, Candidate)> {
        let home = self.home(i);
        std::fs::create_dir_all(self.temp())?;
        let mut command = match behaviour {
            Behaviour::Honest => {
                let mut c = tied_to_us(&self.program);
                c.args(["worker", "--listen", "127.0.0.1:0"]);
                c
            }
            other => {
                let mut c = tied_to_us(&target_dir().join("eider-test-worker"));
                let name = clap::ValueEnum::to_possible_value(&other).context("a name")?.get_name().to_string();
                c.args([name.as_str(), "--eider"]).arg(eider());
                c
            }
        };
        if behaviour == Behaviour::Honest || extra == ["--metered"] {
            command.args(extra);
        }
        let log = std::fs::File::create(self.dir.path().join(format!("{i}.log")))?;
        command
            .env("EIDER_HOME", home)
            .env("EIDER_CACHE", engine_cache())
            .env("TMPDIR", self.temp())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().with_context(|| format!("{command:?}: build the workspace first"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("listening ") else {
            bail!("a {behaviour:?} worker did not come up")
        };
        Ok((child, address.parse().map_err(anyhow::Error::msg)?))
    }

    /// All workers, in the order of their start.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.workers.iter().map(|(_, c)| c.clone()).collect()
    }

    /// Process of worker `i`.
    pub fn pid(&self, i: usize) -> u32 {
        self.workers[i].0.id()
    }

    /// SIGKILL, as a machine dies.
    pub fn kill(&mut self, i: usize) {
        let _ = self.workers[i].0.kill();
        let _ = self.workers[i].0.wait();
    }

    /// What worker `i` has logged.
    pub fn log(&self, i: usize) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{i}.log"))).unwrap_or_default()
    }

    /// Runs a job on all workers, with its result into memory.
    ///
    /// # Errors
    /// Inputs that cannot be pinned, or an output that fails.
    pub async fn run(&self, job: &Job) -> Result<Ran> {
        let memory = MemorySink::default();
        let record = self.run_into(job, self.candidates(), Box::new(memory.clone())).await?;
        Ok(Ran { record, bytes: memory.take() })
    }

    /// Runs a job on these candidates, with its result into `sink`.
    ///
    /// # Errors
    /// As [`Grid::run`].
    pub async fn run_into(&self, job: &Job, candidates: Vec<Candidate>, sink: Box<dyn Sink>) -> Result<JobRecord> {
        let request = request_of(job, candidates)?;
        let (notices, _) = watch::channel(Notice::default());
        Ok(self.requester.request(request, sink, notices, CancellationToken::new()).await?)
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for (child, _) in &mut self.workers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
