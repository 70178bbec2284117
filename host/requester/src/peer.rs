//! One candidate of one job, as its requester talks to it: a task that owns the streams. It waits for the peer; nobody waits
//! for it.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eider_core::{DeliveryFailure, Event, LostWhy, Peer};
use eider_net::{BlobError, BlobSink, Incoming, JobStream, Pace, Receiver, Sender, StreamError};
use eider_protocol::{
    Bid, Body, Challenge, Commit, Dispatch, Hash, JobSecret, Kind, Lane, NodeId, Offer, OfferId, ResetCode, Response,
    SealedError, Settle, Signed, Verify, Version,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::candidature::Orders;
use crate::links::Link;
use crate::output::Output;

/// A worker takes a message, or opens a stream for one, in this time, or it is given up.
const WRITE: Duration = Duration::from_secs(10);
/// Slowest delivery for which the others of the quorum are not asked instead.
const PACE: Pace = Pace { least: 128 << 10, within: Duration::from_secs(5) };
/// A delivery that has been behind another one for so long is given up.
const OUTPACED: Duration = Duration::from_secs(3);
/// Signs of life that are passed on: more often than any stall is short.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What the job asks of a peer's task.
#[derive(Debug)]
pub(crate) enum Command {
    Offer(Box<Signed<Offer>>),
    Challenge(Box<Signed<Challenge>>),
    Dispatch { message: Box<Signed<Dispatch>>, secret: JobSecret },
    Verify { message: Box<Signed<Verify>>, root: Hash, length: u64 },
    Settle(Box<Signed<Settle>>),
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Said {
    Event(Event),
    Bid(Box<Signed<Bid>>),
    Response(Box<Signed<Response>>),
    Commit(Box<Signed<Commit>>),
    Receipt(Box<Signed<Settle>>),
    /// The first verified bytes are out.
    FirstByte,
    /// So many are verified.
    Verified(u64),
    /// The user's output refused the result.
    Output(io::Error),
}

pub(crate) struct PeerTask {
    pub(crate) peer: Peer,
    pub(crate) offer: OfferId,
    pub(crate) link: Link,
    /// Bytes of the largest Bid that is of use.
    pub(crate) bid_max: usize,
    pub(crate) said: mpsc::Sender<(Peer, Said)>,
    pub(crate) output: Output,
    /// What the stream is reset with if the job ends without a word for it.
    pub(crate) breach: Arc<Mutex<ResetCode>>,
}

impl PeerTask {
    async fn say(&self, said: Said) {
        // The job may have ended: then nobody listens any more.
        let _ = self.said.send((self.peer, said)).await;
    }

    fn version(&self) -> Version {
        self.link.connection().version()
    }

    /// Talks until the job drops its commands, or wants the stream reset.
    pub(crate) async fn run(self, orders: Orders) {
        let Orders { mut commands, mut reset } = orders;
        let mut stream = Abandoned { stream: None, settled: false, code: self.breach.clone() };
        // A write that does not end must not hold a Reset back: it is dropped in the middle, and the stream with it. A Reset that comes as
        // the talk ends counts too. Without one, the job has ended without a word for this peer.
        let code = tokio::select! {
            biased;
            Ok(code) = &mut reset => Some(code),
            () = self.talk(&mut commands, &mut stream) => reset.try_recv().ok(),
        };
        if let (Some(code), Some(stream)) = (code, &mut stream.stream) {
            stream.reset(code);
        }
    }

    async fn talk(&self, commands: &mut mpsc::UnboundedReceiver<Command>, stream: &mut Abandoned) {
        let Some(Command::Offer(offer)) = commands.recv().await else { return };
        let opened = tokio::time::timeout(WRITE, self.link.connection().open()).await;
        let opened = match opened {
            Ok(Ok(opened)) => stream.stream.insert(opened),
            Ok(Err(e)) => return self.say(Said::Event(Event::Lost(self.peer, lost(&e)))).await,
            Err(_) => return self.say(Said::Event(Event::Lost(self.peer, lost(&StreamError::Stalled)))).await,
        };
        let JobStream { receiver, sender } = opened;
        if let Err(e) = send(sender, &offer).await {
            return self.say(Said::Event(Event::Lost(self.peer, lost(&e)))).await;
        }
        // Had from the Dispatch on.
        let secret = OnceLock::new();
        tokio::join!(self.write(commands, sender, &mut stream.settled, &secret), self.read(receiver, &secret));
    }

    async fn write(
        &self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        sender: &mut Sender,
        settled: &mut bool,
        secret: &OnceLock<JobSecret>,
    ) {
        // Input and result of a worker that got the job travel in wide windows.
        let mut _wide = None;
        let mut next = None;
        loop {
            let command = match next.take() {
                Some(command) => command,
                None => match commands.recv().await {
                    Some(command) => command,
                    None => return,
                },
            };
            let sent = match command {
                Command::Offer(_) => Ok(()),
                Command::Challenge(challenge) => send(sender, &challenge).await,
                Command::Dispatch { message, secret: new } => {
                    _wide = Some(self.link.connection().widen());
                    // Before the answer can come.
                    let secret = secret.get_or_init(|| new);
                    let sent = send(sender, &message).await;
                    sender.seal(secret.dispatcher(), None);
                    sent
                }
                Command::Settle(settle) => {
                    let sent = send(sender, &settle).await;
                    sender.finish().await;
                    *settled = true;
                    sent
                }
                Command::Verify { message, root, length } => {
                    // Another of the quorum may be faster: the word for this one comes meanwhile.
                    let Some(secret) = secret.get() else { continue };
                    tokio::select! {
                        biased;
                        said = self.deliver(&message, secret, root, length) => self.say(said).await,
                        command = commands.recv() => match command {
                            Some(command) => next = Some(command),
                            None => return,
                        },
                    }
                    Ok(())
                }
            };
            if let Err(e) = sent {
                return self.say(Said::Event(Event::Lost(self.peer, lost(&e)))).await;
            }
        }
    }

    /// Reads the job stream until its end.
    async fn read(&self, receiver: &mut Receiver, secret: &OnceLock<JobSecret>) {
        const FIRST: &[Kind] = &[Kind::Bid];
        const LATER: &[Kind] = &[Kind::Response, Kind::Sealed];
        const SEALED: &[Kind] = &[Kind::Progress, Kind::Commit, Kind::Settle];
        let (mut allowed, mut last_progress) = (FIRST, None::<Instant>);
        let mut refused = match receiver.header_of(FIRST).await {
            Ok(header) if header.length > self.bid_max => {
                // Neither read nor checked: a thousand of these would cost seconds.
                let why = format!("its bid has {} bytes, and no evidence was asked for", header.length);
                return self.say(Said::Event(Event::Unfit(self.peer, why))).await;
            }
            // Whether it ended between frames is told below.
            Ok(_) | Err(StreamError::Ended) => None,
            Err(e) => Some(e),
        };
        loop {
            let came = match refused.take() {
                Some(e) => Err(e),
                None => receiver.frame_of(allowed).await,
            };
            let said = match came {
                Ok(Some(frame)) if frame.kind == Kind::Progress => {
                    if last_progress.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
                        continue;
                    }
                    last_progress = Some(Instant::now());
                    frame.progress().map(|_| Some(Said::Event(Event::Progress(self.peer))))
                }
                Ok(Some(frame)) if frame.kind == Kind::Sealed => match unseal(receiver, secret, &frame) {
                    Ok(()) => {
                        allowed = SEALED;
                        continue;
                    }
                    Err(e) => Err(e),
                },
                Ok(Some(frame)) if frame.kind == Kind::Response && secret.get().is_some() => {
                    Err(StreamError::Unexpected(Kind::Response))
                }
                Ok(Some(frame)) => self.understand(&frame).map(Some),
                Ok(None) => Ok(None),
                Err(e) => Err(e),
            };
            let in_clear = allowed != SEALED;
            if in_clear {
                allowed = LATER;
            }
            match said {
                Ok(Some(said)) => {
                    // A worker that declines ends the stream, and that is no loss.
                    let last = match &said {
                        Said::Receipt(_) => true,
                        Said::Bid(bid) => bid.message().answer.is_err(),
                        _ => false,
                    };
                    self.say(said).await;
                    if last {
                        return;
                    }
                }
                Ok(None) => {
                    let why = LostWhy::Disconnected("it ended the stream".into());
                    return self.say(Said::Event(Event::Lost(self.peer, why))).await;
                }
                Err(e) => {
                    // Once there was a Dispatch, a breach in clear is anybody's who has the key file.
                    let anybodys = in_clear && secret.get().is_some() && e.reset_code().is_some();
                    let e = if anybodys { SealedError::Clear.into() } else { e };
                    if let Some(code) = e.reset_code() {
                        *self.breach.lock() = code;
                        receiver.stop(code);
                    }
                    return self.say(Said::Event(Event::Lost(self.peer, lost(&e)))).await;
                }
            }
        }
    }

    /// A signed message of this job, by this worker.
    fn open<T: Body>(&self, frame: &Incoming, offer: impl Fn(&T) -> OfferId) -> Result<Box<Signed<T>>, StreamError> {
        let node: NodeId = self.link.connection().node();
        let signed = frame.open::<T>(self.version(), node)?;
        if offer(signed.message()) == self.offer {
            Ok(Box::new(signed))
        } else {
            Err(StreamError::Unexpected(frame.kind))
        }
    }

    fn understand(&self, frame: &Incoming) -> Result<Said, StreamError> {
        Ok(match frame.kind {
            Kind::Bid => Said::Bid(self.open(frame, |m: &Bid| m.offer)?),
            Kind::Response => Said::Response(self.open(frame, |m: &Response| m.offer)?),
            Kind::Commit => Said::Commit(self.open(frame, |m: &Commit| m.offer)?),
            Kind::Settle => Said::Receipt(self.open(frame, |m: &Settle| m.offer)?),
            kind => return Err(StreamError::Unexpected(kind)),
        })
    }

    /// Opens the result on a stream of its own, and puts what is verified into the output.
    async fn deliver(&self, verify: &Signed<Verify>, secret: &JobSecret, root: Hash, length: u64) -> Said {
        let start = verify.message().offset;
        let failed = |why| Said::Event(Event::DeliveryFailed(self.peer, why));
        if start == length {
            // Another brought the last byte and was lost before it could be thanked.
            return Said::Event(Event::Delivered(self.peer));
        }
        let mut sink = ToOutput { task: self, reported: None, behind: None, outpaced: false };
        let received = async {
            let opening = async {
                let mut stream = self.link.connection().open().await?;
                stream.ask(secret, Lane::Verify)?;
                send(&mut stream.sender, verify).await?;
                stream.sender.finish().await;
                Ok::<_, StreamError>(stream)
            };
            let mut stream = tokio::time::timeout(WRITE, opening).await.map_err(|_| BlobError::Slow)??;
            let received =
                eider_net::receive(&mut stream.receiver, root.into(), length, (start, length), &mut sink, PACE).await;
            if received.is_err() {
                stream.receiver.stop(ResetCode::NotChosen);
            }
            received
        };
        let received = received.await;
        match received {
            Ok(()) => Said::Event(Event::Delivered(self.peer)),
            Err(BlobError::Io(_)) if sink.outpaced => failed(DeliveryFailure::Slow),
            Err(BlobError::WrongBytes(_)) => failed(DeliveryFailure::WrongBytes),
            Err(BlobError::Slow) => failed(DeliveryFailure::Slow),
            Err(BlobError::Io(e)) => Said::Output(e),
            Err(_) => failed(DeliveryFailure::Broken),
        }
    }
}

/// A job's stream, which is reset if it is dropped before its Settle: also by a job that ends without a word for its peer.
struct Abandoned {
    stream: Option<JobStream>,
    settled: bool,
    /// What it is reset with: the peer's breach, if there was one.
    code: Arc<Mutex<ResetCode>>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let (Some(stream), false) = (&mut self.stream, self.settled) {
            stream.reset(*self.code.lock());
        }
    }
}

/// Verified groups on their way to the output. Time spent here is ours, and is not counted as the worker's.
struct ToOutput<'a> {
    task: &'a PeerTask,
    /// Bytes that the job was last told of.
    reported: Option<u64>,
    /// Since when another delivery is ahead of this one.
    behind: Option<Instant>,
    /// For too long.
    outpaced: bool,
}

impl BlobSink for ToOutput<'_> {
    async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
        /// A progress display moves in such steps.
        const STEP: u64 = 1 << 20;
        let end = offset + bytes.len() as u64;
        let verified = self.task.output.put(offset, bytes).await?;
        if verified > end {
            let since = *self.behind.get_or_insert_with(Instant::now);
            self.outpaced = since.elapsed() > OUTPACED;
            return if self.outpaced { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) };
        }
        self.behind = None;
        match self.reported {
            None => self.task.say(Said::FirstByte).await,
            Some(last) if verified.saturating_sub(last) < STEP => return Ok(()),
            Some(_) => self.task.say(Said::Verified(verified)).await,
        }
        self.reported = Some(verified);
        Ok(())
    }
}

/// All that comes after what announces it is sealed, if there was a Dispatch.
fn unseal(receiver: &mut Receiver, secret: &OnceLock<JobSecret>, frame: &Incoming) -> Result<(), StreamError> {
    let secret = secret.get().ok_or(StreamError::Unexpected(Kind::Sealed))?;
    receiver.unseal(secret.of_worker(&frame.sealed()?)?);
    Ok(())
}

/// Sends a message, in a time that we choose.
async fn send<T: Body>(sender: &mut Sender, message: &Signed<T>) -> Result<(), StreamError> {
    sender.send_within(message, WRITE).await
}

fn lost(e: &StreamError) -> LostWhy {
    match (e, e.reset_code()) {
        (StreamError::Reset(code), _) => LostWhy::ResetByWorker(*code),
        (StreamError::Sealed(e), _) => LostWhy::Disconnected(e.to_string()),
        (e, Some(code)) => LostWhy::Misbehaved(code, e.to_string()),
        (e, None) => LostWhy::Disconnected(e.to_string()),
    }
}
