//! A requester: its connections, and the jobs that it is asked for.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eider_attest::Issued;
use eider_core::{Plan, PlanError};
use eider_inputs::Inputs;
use eider_net::{Connection, Endpoint, EndpointError};
use eider_protocol::{DataClass, Hash, Identity, Limits, NodeId, OfferId, ResetCode};
use eider_runner::Sink;
use eider_sandbox::Variant;
use eider_store::{JobRecord, Memory, Requirement};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::grants::{Grant, serve_inputs};

/// A worker that may be asked: `host:port`, or `host:port#node_id` to accept only that node there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `host:port`.
    pub address: String,
    /// Who it must be.
    pub node: Option<NodeId>,
}

impl FromStr for Candidate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, node) = match text.split_once('#') {
            Some((address, node)) => (address, Some(node.parse().map_err(|e| format!("{text:?}: {e}"))?)),
            None => (text, None),
        };
        let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(format!("{text:?} is not HOST:PORT or HOST:PORT#NODE_ID"));
        }
        Ok(Self { address: address.into(), node })
    }
}

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

/// How far a job is, for a progress display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Bids in favour.
    pub bids: usize,
    /// Workers that run it.
    pub running: usize,
    /// Commits so far.
    pub commits: usize,
    /// Bytes verified, and all.
    pub delivered: Option<(u64, u64)>,
}

/// Why a job could not be tried at all, or its output not be written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// k and quorum.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The socket.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Random,
    /// The query or manifest does not fit a Dispatch.
    #[error("the query and its manifest have {0} bytes, at most {1} fit; use fewer files")]
    TooLarge(usize, usize),
    /// The result could not be written.
    #[error("the result cannot be written: {0}")]
    Output(io::Error),
}

/// Asks grids. Connections are kept from job to job.
#[derive(Clone)]
pub struct Requester {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) identity: Identity,
    endpoints: Mutex<HashMap<bool, Endpoint>>,
    connections: tokio::sync::Mutex<HashMap<SocketAddr, Connection>>,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) grants: Mutex<HashMap<(OfferId, NodeId), Arc<Grant>>>,
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requester({:?})", self.shared.identity)
    }
}

impl Requester {
    /// A requester with this identity.
    pub fn new(identity: Identity) -> Self {
        let shared = Shared {
            identity,
            endpoints: Mutex::default(),
            connections: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
            grants: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// With what earlier jobs have learned of evidence.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        *self.shared.memory.lock() = memory;
        self
    }

    /// What is to be kept for later jobs.
    pub fn memory(&self) -> Memory {
        self.shared.memory.lock().clone()
    }

    /// Runs a job. `output` gets verified bytes only, in order; `cancel` ends the job with a Reset to everybody.
    ///
    /// # Errors
    /// [`RequestError`]. A job that ends without a result is a record and no error.
    pub async fn request(
        &self,
        job: JobRequest,
        output: Arc<std::sync::Mutex<Box<dyn Sink>>>,
        notices: watch::Sender<Notice>,
        cancel: CancellationToken,
    ) -> Result<JobRecord, RequestError> {
        Driver::new(self.shared.clone(), job, output, notices)?.run(cancel).await
    }

    /// Says good-bye on all connections.
    pub async fn close(&self) {
        let endpoints: Vec<_> = self.shared.endpoints.lock().values().cloned().collect();
        for endpoint in endpoints {
            endpoint.close(ResetCode::ShuttingDown, Duration::from_millis(500)).await;
        }
    }
}

impl Shared {
    /// Keeps an offer for which evidence may come again, and forgets those that are too old for that.
    pub(crate) fn remember(&self, issued: Issued, requirement: Option<&Requirement>) {
        let Some(requirement) = requirement.filter(|r| r.wants_evidence()) else { return };
        let mut memory = self.memory.lock();
        let oldest = issued.at.saturating_sub(requirement.policy.reuse_seconds().max(Memory::KEPT_SECONDS));
        memory.issued.retain(|i| i.at >= oldest);
        memory.issued.push(issued);
    }

    fn endpoint(&self, v6: bool) -> Result<Endpoint, EndpointError> {
        let mut endpoints = self.endpoints.lock();
        if let Some(endpoint) = endpoints.get(&v6) {
            return Ok(endpoint.clone());
        }
        let any = if v6 { SocketAddr::from(([0u16; 8], 0)) } else { SocketAddr::from(([0, 0, 0, 0], 0)) };
        let endpoint = Endpoint::bind(any, &self.identity)?;
        endpoints.insert(v6, endpoint.clone());
        Ok(endpoint)
    }

    /// A connection to a candidate, kept or new.
    pub(crate) async fn connect(self: &Arc<Self>, candidate: &Candidate) -> Result<Connection, String> {
        let mut found = tokio::net::lookup_host(&candidate.address).await.map_err(|e| e.to_string())?;
        let address = found.next().ok_or("the name has no address")?;
        if let Some(kept) = self.connections.lock().await.get(&address).cloned()
            && candidate.node.is_none_or(|n| n == kept.node())
            && futures_now(kept.closed()).await.is_none()
        {
            return Ok(kept);
        }
        let endpoint = self.endpoint(address.is_ipv6()).map_err(|e| e.to_string())?;
        let connection = endpoint.connect(address, candidate.node).await.map_err(|e| e.to_string())?;
        self.connections.lock().await.insert(address, connection.clone());
        tokio::spawn(serve_inputs(self.clone(), connection.clone()));
        Ok(connection)
    }
}

/// The future's value if it is ready now.
async fn futures_now<F: Future>(f: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        v = f => Some(v),
        () = std::future::ready(()) => None,
    }
}
