//! A requester: what its jobs share.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use eider_core::{Plan, PlanError};
use eider_inputs::Inputs;
use eider_protocol::{DataClass, Hash, Identity, Limits};
use eider_runner::Sink;
use eider_sandbox::Variant;
use eider_store::{JobRecord, Memory, Requirement};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::candidate::Candidate;
use crate::driver::Driver;
use crate::engines::Handout;
use crate::evidence::Knowledge;
use crate::grants::Grants;
use crate::links::Links;
use crate::log::Notice;

/// Candidates of one job: each is dialled, and may send a Bid with evidence.
pub const CANDIDATES_MAX: usize = JobRecord::PEERS_MAX;

/// A job to be run on a grid.
#[derive(Clone, Debug)]
pub struct JobRequest {
    /// The query.
    pub sql: String,
    /// Its inputs.
    pub inputs: Inputs,
    /// Who may run it.
    pub candidates: Vec<Candidate>,
    /// How many run it and must agree.
    pub plan: Plan,
    /// The engine.
    pub engine: Hash,
    /// The image.
    pub variant: Variant,
    /// Class of the data.
    pub class: DataClass,
    /// What its workers must prove of their hardware.
    pub attest: Option<Requirement>,
    /// What it may use.
    pub limits: Limits,
    /// Job time, microseconds since 1970.
    pub time_us: i64,
    /// Job seed.
    pub seed: [u8; 32],
}

/// Why a job could not be tried at all, or its output not be written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// k and quorum.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Random,
    /// Too many candidates.
    #[error("{0} candidates, at most {max} can be asked for one job", max = CANDIDATES_MAX)]
    Candidates(usize),
    /// The query or manifest does not fit a Dispatch.
    #[error("the query and its manifest have {0} bytes, at most {1} fit; use fewer files")]
    TooLarge(usize, usize),
    /// The result could not be written. What happened before is worth keeping all the same.
    #[error("the result cannot be written: {0}")]
    Output(io::Error, Box<JobRecord>),
}

/// Asks grids. Connections are kept from job to job.
#[derive(Clone)]
pub struct Requester {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) links: Arc<Links>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) knowledge: Knowledge,
    /// Where results wait that the user takes more slowly than they come.
    pub(crate) scratch: PathBuf,
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requester({:?})", self.shared.identity)
    }
}

impl Requester {
    /// A requester with this identity. A result that its user takes more slowly than it comes waits in an unlinked file in
    /// `scratch`.
    pub fn new(identity: Identity, scratch: impl Into<PathBuf>) -> Self {
        let grants = Arc::<Grants>::default();
        let links = Arc::new(Links::new(identity.clone(), grants.clone()));
        let knowledge = Knowledge::default();
        Self { shared: Arc::new(Shared { identity, links, grants, knowledge, scratch: scratch.into() }) }
    }

    /// With what earlier jobs have learned of evidence.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        self.shared.knowledge.set(memory);
        self
    }

    /// What was learned since this was last asked: to be kept for later.
    pub fn take_learned(&self) -> Memory {
        self.shared.knowledge.take_learned()
    }

    /// Runs a job. `output` gets verified bytes only, in order; `cancel` ends the job with a Reset to everybody.
    ///
    /// # Errors
    /// [`RequestError`]. A job that ends without a result is a record and no error.
    pub async fn request(
        &self,
        job: JobRequest,
        output: Box<dyn Sink>,
        notices: watch::Sender<Notice>,
        cancel: CancellationToken,
    ) -> Result<JobRecord, RequestError> {
        Driver::new(self.shared.clone(), job, output, notices)?.run(cancel).await
    }

    /// Hands an engine out to workers that have not got it, from now on.
    pub fn hand_out(&self, engine: Handout) {
        self.shared.grants.engines.put(engine);
    }

    /// Workers that are known: a connection to each is kept, or the failure to make one remembered for a while.
    pub fn known_workers(&self) -> usize {
        self.shared.links.kept()
    }

    /// Says good-bye on all connections.
    pub async fn close(&self) {
        self.shared.links.close().await;
    }
}
