//! Strangers that play workers against a requester.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use eider_net::{Connection, Endpoint, Source, file_outboard};
use tokio::task::JoinSet;

use super::*;
use crate::Job;
use eider_node::Candidate;

/// One stream that a requester opened to a stranger, which answers by hand.
pub struct Call {
    /// Who the stranger is.
    pub identity: Identity,
    /// With the requester.
    pub connection: Connection,
    /// The job's stream.
    pub stream: JobStream,
    /// The Offer that came on it.
    pub offer: Signed<Offer>,
    /// The neighbourhood.
    pub town: &'static Town,
    /// The job's query, which a stranger cannot know before the Dispatch, and this test does.
    pub sql: String,
    sealing: Arc<SealingKey>,
}

/// What a stranger does with a call. Verify streams come to it by [`Call::verified`].
pub type Play = fn(Call) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Call {
    /// The job.
    pub fn id(&self) -> OfferId {
        OfferId::from_bytes(*self.offer.content_hash().as_bytes())
    }

    /// Signs as itself.
    pub fn sign<T: Body>(&self, message: T) -> Signed<T> {
        Signed::sign(&self.identity, Version::LATEST, message)
    }

    /// A good Bid in favour.
    pub fn good_bid(&self) -> Bid {
        let accept = Accept { eta_ms: 0, price: 0, free_memory: 8 << 30, free_jobs: 8 };
        Bid { offer: self.id(), answer: Ok(accept), sealing: self.sealing.public(), evidence: None }
    }

    /// Bids, as an honest worker would.
    ///
    /// # Errors
    /// The stream.
    pub async fn bid(&mut self) -> Result<()> {
        let bid = self.sign(self.good_bid());
        Ok(self.stream.sender.send(&bid).await?)
    }

    /// Waits for the Dispatch and opens it.
    ///
    /// # Errors
    /// The stream; who is not chosen is reset.
    pub async fn task(&mut self) -> Result<Task> {
        let frame = self.stream.receiver.expect_of(&[Kind::Dispatch]).await?;
        let dispatch = frame.open::<Dispatch>(Version::LATEST, self.connection.node())?;
        Ok(self.sealing.open(dispatch.message(), None)?)
    }

    /// Says that it works.
    ///
    /// # Errors
    /// The stream.
    pub async fn progress(&mut self) -> Result<()> {
        let progress = Progress { stage: Stage::Running, done: 1, bytes_read: 0 };
        Ok(self.stream.sender.frame(Kind::Progress, &progress.to_payload()).await?)
    }

    /// A Commit to an outcome.
    pub fn commit_to(&self, outcome: Outcome) -> Signed<Commit> {
        self.sign(Commit { offer: self.id(), task: self.offer.message().task, price: 0, outcome })
    }

    /// Commits to an outcome.
    ///
    /// # Errors
    /// The stream.
    pub async fn commit(&mut self, outcome: Outcome) -> Result<()> {
        let commit = self.commit_to(outcome);
        Ok(self.stream.sender.send(&commit).await?)
    }

    /// What an honest worker would commit to, and the result's bytes.
    ///
    /// # Errors
    /// The local sandbox.
    pub async fn truth(&self) -> Result<(Outcome, Arc<Vec<u8>>)> {
        self.town.truth(&self.sql).await
    }

    /// A lie that looks like the truth.
    ///
    /// # Errors
    /// The local sandbox.
    pub async fn lie(&self) -> Result<Outcome> {
        let (mut outcome, _) = self.truth().await?;
        if let Outcome::Completed { root, .. } = &mut outcome {
            *root = Hash::from_bytes([9; 32]);
        }
        Ok(outcome)
    }

    /// The next stream that the requester opens on this connection: a Verify, and what to stream it from.
    ///
    /// # Errors
    /// The connection.
    pub async fn verified(&self) -> Result<(JobStream, Verify, Source)> {
        let mut stream = self.connection.accept().await?;
        let frame = stream.receiver.expect_of(&[Kind::Verify]).await?;
        let verify = frame.open::<Verify>(Version::LATEST, self.connection.node())?.message().clone();
        let (_, bytes) = self.truth().await?;
        let outboard = file_outboard(&mut &bytes[..], bytes.len() as u64)?;
        let mut file = tempfile::tempfile()?;
        std::io::Write::write_all(&mut file, &bytes)?;
        Ok((stream, verify, Source { bytes: Arc::new(file), outboard: Arc::new(outboard), checked: false }))
    }

    /// Waits until the requester ends the job's stream.
    pub async fn until_reset(&mut self) {
        while let Ok(Some(_)) = self.stream.receiver.frame_of(Kind::ALL).await {}
    }
}

/// A stranger that listens, and answers each call in its own way.
pub struct FakeWorker {
    /// Where it is.
    pub candidate: Candidate,
    _tasks: JoinSet<()>,
}

impl FakeWorker {
    /// Listens on loopback. The first stream of each connection is a call; later ones come to [`Call::verified`].
    ///
    /// # Errors
    /// The socket.
    pub fn listen(town: &'static Town, sql: &str, play: Play) -> Result<Self> {
        let identity = Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?;
        let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &identity)?;
        let candidate = Candidate { address: endpoint.local_addr()?.to_string(), node: Some(identity.node_id()) };
        let sealing = Arc::new(SealingKey::generate().map_err(|e| anyhow::anyhow!("{e}"))?);
        let mut tasks = JoinSet::new();
        let sql = sql.to_string();
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                let (identity, sealing, sql) = (identity.clone(), sealing.clone(), sql.clone());
                calls.spawn(async move {
                    let connection = Endpoint::finish(incoming).await?;
                    let mut stream = connection.accept().await?;
                    let frame = stream.receiver.expect_of(&[Kind::Offer]).await?;
                    let offer = frame.open::<Offer>(Version::LATEST, connection.node())?;
                    play(Call { identity, connection, stream, offer, town, sql, sealing }).await
                });
            }
        });
        Ok(Self { candidate, _tasks: tasks })
    }
}

/// Plays strangers beside the three honest workers in one job, which must be verified and right; no honest worker is blamed, and
/// of the strangers the record says what the behaviour's head says.
///
/// # Errors
/// What was not so.
pub fn answers(file: &str, play: Play) -> Result<()> {
    let head = Head::parse(file, true).map_err(anyhow::Error::msg)?;
    let (here, _alone) = Town::enter()?;
    Town::runtime().block_on(among(here, &head, play))
}

async fn among(here: &'static Town, head: &Head, play: Play) -> Result<()> {
    let (_, truth) = here.truth(&head.sql).await?;
    let strangers: Vec<_> =
        (0..head.strangers).map(|_| FakeWorker::listen(here, &head.sql, play)).collect::<Result<_>>()?;
    let mut candidates = here.grid.candidates();
    candidates.extend(strangers.iter().map(|s| s.candidate.clone()));
    let honest: Vec<_> = here.grid.candidates().iter().filter_map(|c| c.node).collect();
    let sink = eider_node::MemorySink::default();
    let job = Job::new(&head.sql).of(head.plan.0, head.plan.1);
    let record = here.grid.run_into(&job, candidates, Box::new(sink.clone())).await?;
    let fates: Vec<_> = record.peers.iter().map(|p| p.fate.to_string()).collect();
    ensure!(record.end.word() == "verified", "it ended as {}: {}; {fates:?}", record.end, record.reason);
    ensure!(sink.take() == **truth, "the result is another");
    for peer in &record.peers {
        let fate = peer.fate.to_string();
        if peer.node.is_some_and(|n| honest.contains(&n)) {
            ensure!(!peer.at_fault, "an honest worker was blamed: {fate}");
        } else {
            ensure!(head.fates.iter().any(|f| fate.starts_with(f.as_str())), "a stranger's fate is {fate:?}");
            ensure!(peer.at_fault == fate.starts_with("caught"), "blame and fate differ: {fate}");
        }
    }
    here.neighbour().await.context("after the strangers had gone")
}

/// The same where the honest workers have others to serve too, and may be busy: whatever becomes of the job, no byte of it is
/// wrong, unless strangers alone made a quorum of it, and no honest worker is blamed.
pub(super) async fn beside_strangers(here: &'static Town, file: &str, play: Play) -> Result<()> {
    let head = Head::parse(file, true).map_err(anyhow::Error::msg)?;
    let (_, truth) = here.truth(&head.sql).await?;
    let strangers: Vec<_> =
        (0..head.strangers).map(|_| FakeWorker::listen(here, &head.sql, play)).collect::<Result<_>>()?;
    let honest = here.grid.candidates();
    let mut candidates = honest.clone();
    candidates.extend(strangers.iter().map(|s| s.candidate.clone()));
    let sink = eider_node::MemorySink::default();
    let job = Job::new(&head.sql).of(head.plan.0, head.plan.1);
    let record = here.grid.run_into(&job, candidates, Box::new(sink.clone())).await?;
    let is_honest = |node: &NodeId| honest.iter().any(|c| c.node == Some(*node));
    if record.end.word() == "verified" && record.agreed.iter().any(is_honest) {
        ensure!(sink.take() == **truth, "the result is another");
    }
    for peer in record.peers.iter().filter(|p| p.node.as_ref().is_some_and(is_honest)) {
        ensure!(!peer.at_fault || strangers.len() >= head.plan.1, "an honest worker was blamed: {}", peer.fate);
    }
    Ok(())
}
