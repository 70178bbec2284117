//! Connections to workers, kept from job to job: one for each worker, one attempt at a time to make it, closed when
//! nobody has used it for a while.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use eider_net::{ConnectError, Connection, Endpoint, EndpointError};
use eider_protocol::{Identity, NodeId, ResetCode};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::candidate::Candidate;
use crate::grants::{Grants, serve_inputs};

/// A connection that no job uses is closed after this time: a next query of a session finds it, a worker is not held for long.
const IDLE: Duration = Duration::from_secs(60);
/// Connections that no job uses at a time; the longest unused are closed first.
const IDLE_MAX: usize = 256;
/// How often they are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Handshakes under way at a time.
const DIALS_MAX: usize = 256;
/// One that nobody answers in this time has its place no longer, and goes on.
const DIAL_PLACE: Duration = Duration::from_millis(500);
/// Names that are looked up at a time: each holds a thread for as long as its servers like.
const LOOKUPS_MAX: usize = 32;
/// How long that may take.
const LOOKUP: Duration = Duration::from_secs(5);
/// A worker that could not be reached is not dialled again before this time has passed: jobs that wait for the same attempt, and
/// those that come a moment later, have its answer.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// All connections of a requester.
pub(crate) struct Links {
    identity: Identity,
    endpoints: Mutex<HashMap<bool, Endpoint>>,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    dials: Semaphore,
    lookups: Arc<Semaphore>,
    grants: Arc<Grants>,
    /// Whether the task that closes idle ones runs.
    swept: Mutex<bool>,
}

/// A node where it is known, else the address that it is looked for at.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Node(NodeId, String),
    Address(String),
}

/// Where one worker's connection is kept.
struct Slot {
    /// Locked while it is being made: only those wait who want the same worker, and no longer than an attempt may take.
    connection: tokio::sync::Mutex<Attempt>,
    users: AtomicUsize,
    unused_since: Mutex<Instant>,
}

/// What the last attempt came to.
#[derive(Default)]
enum Attempt {
    #[default]
    None,
    Stands(Connection),
    Failed(Instant, LinkError),
}

/// A connection in use.
pub(crate) struct Link {
    connection: Connection,
    slot: Arc<Slot>,
}

impl Link {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        *self.slot.unused_since.lock() = Instant::now();
        self.slot.users.fetch_sub(1, Ordering::Release);
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LinkError {
    /// The name.
    #[error("{0}")]
    Name(String),
    /// Our own socket.
    #[error("{0}")]
    Socket(String),
    /// The other end.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Links {
    pub(crate) fn new(identity: Identity, grants: Arc<Grants>) -> Self {
        Self {
            identity,
            endpoints: Mutex::default(),
            slots: Mutex::default(),
            dials: Semaphore::new(DIALS_MAX),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            grants,
            swept: Mutex::new(false),
        }
    }

    fn endpoint(&self, v6: bool) -> Result<Endpoint, EndpointError> {
        let mut endpoints = self.endpoints.lock();
        if let Some(endpoint) = endpoints.get(&v6) {
            return Ok(endpoint.clone());
        }
        let any = if v6 { SocketAddr::from(([0u16; 8], 0)) } else { SocketAddr::from(([0, 0, 0, 0], 0)) };
        let endpoint = Endpoint::dialler(any, &self.identity)?;
        endpoints.insert(v6, endpoint.clone());
        Ok(endpoint)
    }

    /// A connection to a candidate, kept or new.
    pub(crate) async fn connect(self: &Arc<Self>, candidate: &Candidate) -> Result<Link, LinkError> {
        self.keep_swept();
        let key = match candidate.node {
            Some(node) => Key::Node(node, candidate.address.clone()),
            None => Key::Address(candidate.address.clone()),
        };
        let slot = {
            let mut slots = self.slots.lock();
            let slot = slots.entry(key).or_insert_with(|| {
                Arc::new(Slot {
                    connection: tokio::sync::Mutex::default(),
                    users: AtomicUsize::new(0),
                    unused_since: Mutex::new(Instant::now()),
                })
            });
            // Counted under the lock of the table, so that the sweep cannot take it away meanwhile.
            slot.users.fetch_add(1, Ordering::Acquire);
            slot.clone()
        };
        let used = Uncount(slot);
        let mut kept = used.0.connection.lock().await;
        let connection = match &*kept {
            Attempt::Stands(connection) if !connection.is_closed() => connection.clone(),
            Attempt::Failed(at, why) if at.elapsed() < FAILED_FOR => return Err(why.clone()),
            // One of all who wait does; the others need no room for it.
            _ => match Box::pin(self.dial(candidate)).await {
                Ok(made) => {
                    tokio::spawn(serve_inputs(self.grants.clone(), made.clone()));
                    *kept = Attempt::Stands(made.clone());
                    made
                }
                Err(why) => {
                    *kept = Attempt::Failed(Instant::now(), why.clone());
                    return Err(why);
                }
            },
        };
        drop(kept);
        Ok(Link { connection, slot: used.keep() })
    }

    async fn dial(&self, candidate: &Candidate) -> Result<Connection, LinkError> {
        let found = self.addresses(&candidate.address).await?;
        // Never closed.
        let permit = self.dials.acquire().await;
        let dialled = self.dial_any(found, candidate);
        tokio::pin!(dialled);
        if let Ok(done) = tokio::time::timeout(DIAL_PLACE, &mut dialled).await {
            return done;
        }
        // It is silent, and so makes no work: its place is for another.
        drop(permit);
        dialled.await
    }

    async fn dial_any(&self, found: Vec<SocketAddr>, candidate: &Candidate) -> Result<Connection, LinkError> {
        let mut why = LinkError::Name("the name has no address".into());
        for address in found {
            let endpoint = self.endpoint(address.is_ipv6()).map_err(|e| LinkError::Socket(e.to_string()));
            match endpoint {
                Ok(endpoint) => match endpoint.connect(address, candidate.node).await {
                    Ok(connection) => return Ok(connection),
                    Err(e) => why = e.into(),
                },
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    /// What an address stands for. A name is looked up on a thread, of which only so many may wait for servers of strangers.
    async fn addresses(&self, address: &str) -> Result<Vec<SocketAddr>, LinkError> {
        if let Ok(address) = address.parse() {
            return Ok(vec![address]);
        }
        let looked_up = async {
            // Never closed.
            let permit = self.lookups.clone().acquire_owned().await;
            let name = address.to_owned();
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                name.to_socket_addrs().map(|found| found.take(ADDRESSES_MAX).collect())
            })
            .await
        };
        match tokio::time::timeout(LOOKUP, looked_up).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(e))) => Err(LinkError::Name(e.to_string())),
            Ok(Err(e)) => Err(LinkError::Name(e.to_string())),
            Err(_) => Err(LinkError::Name(format!("no answer to the name within {} s", LOOKUP.as_secs()))),
        }
    }

    fn keep_swept(self: &Arc<Self>) {
        let mut swept = self.swept.lock();
        if !*swept {
            *swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has not been used for long enough, or is too much.
    fn close_idle(&self) {
        let now = Instant::now();
        let mut slots = self.slots.lock();
        let mut idle: Vec<_> = slots
            .iter()
            .filter(|(_, s)| s.users.load(Ordering::Acquire) == 0)
            .map(|(k, s)| (*s.unused_since.lock(), k.clone()))
            .collect();
        idle.sort_by_key(|(since, _)| *since);
        let over = idle.len().saturating_sub(IDLE_MAX);
        for (i, (since, key)) in idle.into_iter().enumerate() {
            if i >= over && now.duration_since(since) < IDLE {
                continue;
            }
            let Some(slot) = slots.remove(&key) else { continue };
            if let Ok(attempt) = slot.connection.try_lock()
                && let Attempt::Stands(connection) = &*attempt
            {
                connection.close(ResetCode::JobEnded);
            }
        }
    }

    /// Workers that a connection is kept to, or an attempt is remembered of.
    pub(crate) fn kept(&self) -> usize {
        self.slots.lock().len()
    }

    /// Says good-bye on all connections.
    pub(crate) async fn close(&self) {
        let endpoints: Vec<_> = self.endpoints.lock().values().cloned().collect();
        for endpoint in endpoints {
            endpoint.close(ResetCode::ShuttingDown, Duration::from_millis(500)).await;
        }
    }
}

/// A use of a slot that has no link yet.
struct Uncount(Arc<Slot>);

impl Uncount {
    fn keep(self) -> Arc<Slot> {
        let slot = self.0.clone();
        slot.users.fetch_add(1, Ordering::Acquire);
        slot
    }
}

impl Drop for Uncount {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Release);
    }
}

async fn sweep(links: Weak<Links>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(links) = links.upgrade() else { return };
        links.close_idle();
    }
}
