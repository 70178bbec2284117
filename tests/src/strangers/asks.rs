//! Strangers that play requesters against workers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use eider_net::{Connection, Endpoint};
use eider_node::EngineBinary;
use eider_sandbox::Variant;

use super::*;
use eider_node::Candidate;

/// Longest that a behaviour may play.
const PLAYS: Duration = Duration::from_secs(90);

/// A requester without manners: an identity, and a connection on which everything is written by hand.
pub struct Stranger {
    /// Who it is.
    pub identity: Identity,
    /// Its socket.
    pub endpoint: Endpoint,
    /// To the worker.
    pub connection: Connection,
}

impl Stranger {
    /// A new identity, connected to a worker.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial(worker: &Candidate) -> Result<Self> {
        Self::dial_as(Identity::generate().map_err(|e| anyhow::anyhow!("{e}"))?, worker).await
    }

    /// The same under a given identity.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial_as(identity: Identity, worker: &Candidate) -> Result<Self> {
        let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &identity)?;
        let connection = endpoint.connect(worker.address.parse()?, worker.node).await?;
        Ok(Self { identity, endpoint, connection })
    }

    /// The task of a query without inputs.
    pub fn task(sql: &str) -> Task {
        Task { sql: sql.into(), inputs: vec![], time_us: 0, seed: [7; 32], salt: rand::random() }
    }

    /// A good Offer of a task: 256 MiB, a small result, a minute.
    ///
    /// # Errors
    /// The built-in engine.
    pub fn offer(&self, task: &Task) -> Result<Offer> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Offer {
            requester: self.identity.node_id(),
            task: task.hash(),
            draw: draw_commitment(&[0; 32]),
            class: DataClass::Public,
            engine: EngineBinary::built_in()?.hash,
            profile: Variant::Plain.profile().into(),
            limits: Limits { memory: 256 << 20, result: 64 << 20, run_ms: 60_000, fuel: None },
            inputs: InputsSummary {
                count: u32::try_from(task.inputs.len())?,
                bytes: task.inputs.iter().map(|i| i.size).sum(),
            },
            attest: None,
            issued_at: i64::try_from(now)?,
            valid_s: 60,
            nonce: rand::random(),
        })
    }

    /// Signs as itself.
    pub fn sign<T: Body>(&self, message: T) -> Signed<T> {
        Signed::sign(&self.identity, Version::LATEST, message)
    }

    /// Offers a task and reads the Bid: the stream, the job's id and the Bid.
    ///
    /// # Errors
    /// No Bid.
    pub async fn bid(&self, offer: &Signed<Offer>) -> Result<(JobStream, OfferId, Bid)> {
        let mut stream = self.connection.open().await?;
        stream.sender.send(offer).await?;
        let frame = stream.receiver.expect_of(&[Kind::Bid]).await?;
        let bid = frame.open::<Bid>(Version::LATEST, self.connection.node())?;
        let id = OfferId::from_bytes(*offer.content_hash().as_bytes());
        Ok((stream, id, bid.message().clone()))
    }

    /// The Dispatch of a task to who made the Bid.
    ///
    /// # Errors
    /// A sealing key that is none.
    pub fn dispatch(&self, id: OfferId, bid: &Bid, task: &Task) -> Result<Signed<Dispatch>> {
        Ok(self.sign(task.seal(id, self.connection.node(), bid.sealing, None)?))
    }

    /// Offers and dispatches a task; the stream that its Commit will come on.
    ///
    /// # Errors
    /// A Bid that is none, or declines.
    pub async fn run(&self, task: &Task) -> Result<(JobStream, OfferId)> {
        let offer = self.sign(self.offer(task)?);
        let (mut stream, id, bid) = self.bid(&offer).await?;
        if let Err(decline) = &bid.answer {
            bail!("declined: {}", decline.detail);
        }
        stream.sender.send(&self.dispatch(id, &bid, task)?).await?;
        Ok((stream, id))
    }

    /// The Commit on a job's stream, past all Progress.
    ///
    /// # Errors
    /// How the stream ended instead.
    pub async fn commit(&self, stream: &mut JobStream) -> Result<Commit> {
        loop {
            let frame = stream.receiver.expect_of(&[Kind::Progress, Kind::Commit]).await?;
            if frame.kind == Kind::Commit {
                return Ok(frame.open::<Commit>(Version::LATEST, self.connection.node())?.message().clone());
            }
        }
    }

    /// The code that a stream is reset with; Progress and other frames on the way are passed over.
    ///
    /// # Errors
    /// A stream that ends otherwise, or not in 30 s.
    pub async fn reset_of(stream: &mut JobStream) -> Result<ResetCode> {
        let read = async {
            loop {
                match stream.receiver.frame_of(Kind::ALL).await {
                    Ok(Some(_)) => {}
                    Ok(None) => bail!("the stream was finished"),
                    Err(StreamError::Reset(code)) => return Ok(code),
                    Err(e) => bail!("{e}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read).await.context("no reset")?
    }
}

/// Plays a behaviour against the neighbourhood, while the honest requester's jobs go on; then everything is at rest again.
///
/// # Errors
/// What the neighbour saw of it, or what the behaviour did not get as it expects.
pub fn asks<F: Future<Output = Result<()>>>(play: impl FnOnce(&'static Town) -> F) -> Result<()> {
    let (here, _alone) = Town::enter()?;
    Town::runtime().block_on(beside(here, play))
}

async fn beside<F: Future<Output = Result<()>>>(
    here: &'static Town,
    play: impl FnOnce(&'static Town) -> F,
) -> Result<()> {
    here.neighbour().await.context("before the stranger came")?;
    let rest = here.at_rest().await;
    let over = AtomicBool::new(false);
    let stranger = async {
        let played = tokio::time::timeout(PLAYS, play(here)).await;
        over.store(true, Ordering::Relaxed);
        played.context("the behaviour did not end")?
    };
    let neighbour = async {
        while !over.load(Ordering::Relaxed) {
            here.neighbour().await?;
        }
        here.neighbour().await
    };
    let (stranger, neighbour) = tokio::join!(stranger, neighbour);
    neighbour?;
    stranger?;
    here.back_at(&rest).await;
    here.neighbour().await.context("after the stranger had gone")
}
