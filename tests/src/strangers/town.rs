//! The neighbourhood: three honest workers and an honest requester, one for all behaviours of a test program.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, ensure};
use eider_node::{Candidate, CellRunner, EngineBinary, Uncounted, Work, run_local};
use eider_protocol::{Outcome, Task};
use eider_sandbox::{CellCommand, ImageCache, Pool, Variant};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard};

use crate::Behaviour::Honest;
use crate::process::{descendants, descriptors, eventually, memory, threads};
use crate::{Grid, Job, eider, engine_cache, request_of};

/// What each worker of the neighbourhood gives.
const DONATION: [&str; 8] = ["--jobs", "4", "--per-requester", "2", "--memory", "6GiB", "--disk", "20GiB"];
/// Bytes by which a worker at rest may be larger than it was: what an allocator keeps.
const SLACK: u64 = 96 << 20;

/// An outcome, and the result's bytes.
type Truth = (Outcome, Arc<Vec<u8>>);

/// Three honest workers, and an honest requester in this process.
pub struct Town {
    /// The workers.
    pub grid: Grid,
    truths: Mutex<HashMap<String, Truth>>,
}

/// What a worker holds at rest.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    descriptors: usize,
    threads: usize,
    processes: usize,
    memory: u64,
}

impl Town {
    /// A neighbourhood of its own.
    ///
    /// # Errors
    /// A worker that does not come up.
    pub fn build() -> Result<Self> {
        Ok(Self { grid: Grid::start(&[Honest; 3], &DONATION)?, truths: Mutex::default() })
    }

    /// The one that all behaviours of this process share, one after the other. It lives as long as the process, and its workers
    /// end with it.
    ///
    /// # Errors
    /// As [`Town::build`].
    pub fn enter() -> Result<(&'static Self, MutexGuard<'static, ()>)> {
        static TOWN: OnceLock<Result<Town, String>> = OnceLock::new();
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.blocking_lock();
        let town = TOWN.get_or_init(|| {
            // Workers end with the thread that started them: one that never ends.
            let (built, town) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let _ = built.send(Self::build().map_err(|e| format!("{e:#}")));
                loop {
                    std::thread::park();
                }
            });
            town.recv().unwrap_or_else(|e| Err(e.to_string()))
        });
        Ok((town.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?, alone))
    }

    /// Where all of it runs: connections are kept from one behaviour to the next.
    pub fn runtime() -> &'static Runtime {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        RUNTIME.get_or_init(|| Runtime::new().expect("a test's machine has threads"))
    }

    /// Worker `i`, of three.
    pub fn worker(&self, i: usize) -> Candidate {
        self.grid.candidates()[i].clone()
    }

    /// What an honest worker commits to for a query without inputs, under the limits of a test's job, and the result's bytes.
    ///
    /// # Errors
    /// The local sandbox.
    pub async fn truth(&self, sql: &str) -> Result<(Outcome, Arc<Vec<u8>>)> {
        let mut truths = self.truths.lock().await;
        if let Some(known) = truths.get(sql) {
            return Ok(known.clone());
        }
        let engine = EngineBinary::built_in()?;
        let command = CellCommand::new(eider());
        let cache = ImageCache::open(engine_cache().join("engines"), command.clone())?;
        let image = cache.image(engine.hash.into(), Variant::Plain, || engine.bytes(), |_| {})?;
        let runner = CellRunner::new([Pool::start(command, image, 1)], std::env::temp_dir(), Arc::new(Uncounted));
        let request = request_of(&Job::new(sql), vec![])?;
        let task = Task { sql: sql.into(), inputs: vec![], time_us: 0, seed: [7; 32], salt: [0; 32] };
        let work = Work { task, limits: request.limits, engine: engine.hash, variant: Variant::Plain };
        let sink = eider_node::MemorySink::default();
        let report = run_local(&runner, work, &request.inputs, &mut sink.clone()).await?;
        let truth = (report.outcome, Arc::new(sink.take()));
        truths.insert(sql.into(), truth.clone());
        Ok(truth)
    }

    /// One honest job on all three: it must be verified and right, and nobody blamed.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn neighbour(&self) -> Result<()> {
        let ran = self.grid.run(&Job::new("SELECT 42 AS answer").of(3, 2)).await?;
        ensure!(
            ran.record.end.word() == "verified",
            "the neighbour's job ended as {}: {}",
            ran.record.end,
            ran.record.reason
        );
        ensure!(ran.csv()? == "42\n", "the neighbour got {:?}", ran.csv());
        for peer in &ran.record.peers {
            ensure!(!peer.at_fault, "an honest worker was blamed: {}", peer.fate);
        }
        Ok(())
    }

    /// What each worker holds now.
    pub fn footprints(&self) -> Vec<Footprint> {
        let footprint = |i| {
            let pid = self.grid.pid(i);
            Footprint {
                descriptors: descriptors(pid).len(),
                threads: threads(pid).count(),
                processes: descendants(pid).len(),
                memory: memory(pid, "RssAnon"),
            }
        };
        (0..3).map(footprint).collect()
    }

    /// Waits until all workers are back at what they held.
    pub async fn back_at(&self, rest: &[Footprint]) {
        eventually(|| {
            for (i, (now, rest)) in self.footprints().into_iter().zip(rest).enumerate() {
                let back = now.descriptors <= rest.descriptors + 1
                    && now.processes <= rest.processes
                    && now.threads <= rest.threads.max(40)
                    && now.memory <= rest.memory + SLACK;
                if !back {
                    let open = descriptors(self.grid.pid(i));
                    return Err(format!("worker {i} at rest had {rest:?}, and has {now:?}: {open:?}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until its workers have their cells ready, and says what they hold then.
    pub async fn at_rest(&self) -> Vec<Footprint> {
        let mut last = self.footprints();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.footprints();
            let still = now.iter().zip(&last).all(|(a, b)| {
                (a.descriptors, a.processes) == (b.descriptors, b.processes) && a.memory.abs_diff(b.memory) < SLACK / 8
            });
            if still {
                return now;
            }
            last = now;
        }
    }
}
