//! One candidate of one job, as its requester talks to it: a stream, a reader task, a delivery task.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use eider_core::{DeliveryFailure, Event, LostWhy, Peer};
use eider_net::{BlobError, Connection, JobStream, Receiver, Sender, StreamError};
use eider_protocol::{
    Bid, Challenge, Commit, Dispatch, Hash, Kind, NodeId, Offer, OfferId, ResetCode, Response, Settle, Signed, Verify,
};
use eider_runner::Sink;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What the job asks of a peer's task.
#[derive(Debug)]
pub(crate) enum Command {
    Offer(Box<Signed<Offer>>),
    Challenge(Box<Signed<Challenge>>),
    Dispatch(Box<Signed<Dispatch>>),
    Verify { message: Box<Signed<Verify>>, root: Hash, length: u64 },
    Settle(Box<Signed<Settle>>),
    Reset(ResetCode),
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Said {
    Event(Event),
    Bid(Box<Signed<Bid>>),
    Response(Box<Signed<Response>>),
    Commit(Box<Signed<Commit>>),
    Receipt(Box<Signed<Settle>>),
    /// The user's output refused the result.
    Output(io::Error),
}

/// The verified part of a result on its way out: shared by all deliveries of a job, so that a second deliverer goes on
/// where the first was caught.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) sink: Arc<std::sync::Mutex<Box<dyn Sink>>>,
    pub(crate) verified: Arc<AtomicU64>,
}

pub(crate) struct PeerTask {
    pub(crate) peer: Peer,
    pub(crate) offer: OfferId,
    pub(crate) connection: Connection,
    pub(crate) said: mpsc::Sender<(Peer, Said)>,
    pub(crate) output: Output,
}

impl PeerTask {
    async fn say(&self, said: Said) {
        // The job may have ended: then nobody listens any more.
        let _ = self.said.send((self.peer, said)).await;
    }

    pub(crate) async fn run(self, mut commands: mpsc::Receiver<Command>) {
        let task = Arc::new(self);
        // Reader and delivery end with this task.
        let mut tasks = JoinSet::new();
        let mut sender: Option<Sender> = None;
        while let Some(command) = commands.recv().await {
            let sent = match (command, &mut sender) {
                (Command::Offer(offer), None) => match task.connection.open().await {
                    Ok(JobStream { receiver, sender: mut s }) => {
                        let sent = s.send(&offer).await;
                        sender = Some(s);
                        let reader = task.clone();
                        tasks.spawn(async move { reader.read(receiver).await });
                        sent
                    }
                    Err(e) => Err(e),
                },
                (Command::Challenge(challenge), Some(s)) => s.send(&challenge).await,
                (Command::Dispatch(dispatch), Some(s)) => s.send(&dispatch).await,
                (Command::Settle(settle), Some(s)) => {
                    let sent = s.send(&settle).await;
                    s.finish();
                    sent
                }
                (Command::Verify { message, root, length }, Some(_)) => {
                    let delivery = task.clone();
                    tasks.spawn(async move { delivery.deliver(&message, root, length).await });
                    Ok(())
                }
                (Command::Reset(code), s) => {
                    if let Some(s) = s {
                        s.reset(code);
                    }
                    tasks.shutdown().await;
                    return;
                }
                _ => Ok(()),
            };
            if let Err(e) = sent {
                task.say(Said::Event(Event::Lost(task.peer, lost(&e)))).await;
            }
        }
        // The job is over: what was settled may still be answered; the reader ends by itself or with the connection.
        while tasks.join_next().await.is_some() {}
    }

    /// Reads the job stream until its end.
    async fn read(&self, mut receiver: Receiver) {
        let node = self.connection.node();
        loop {
            let said = match receiver.frame().await {
                Ok(Some(frame)) => self.understand(node, &frame),
                Ok(None) => Ok(None),
                Err(e) => Err(e),
            };
            match said {
                Ok(Some(said)) => {
                    let last = matches!(said, Said::Receipt(_));
                    self.say(said).await;
                    if last {
                        return;
                    }
                }
                Ok(None) => {
                    return self
                        .say(Said::Event(Event::Lost(self.peer, LostWhy::Disconnected("it ended the stream".into()))))
                        .await;
                }
                Err(e) => {
                    if let Some(code) = e.reset_code() {
                        receiver.stop(code);
                    }
                    return self.say(Said::Event(Event::Lost(self.peer, lost(&e)))).await;
                }
            }
        }
    }

    fn understand(&self, node: NodeId, frame: &eider_net::Incoming) -> Result<Option<Said>, StreamError> {
        let of_this_job =
            |id: OfferId| if id == self.offer { Ok(()) } else { Err(StreamError::Unexpected(frame.kind)) };
        Ok(Some(match frame.kind {
            Kind::Bid => {
                let bid = frame.open::<Bid>(node)?;
                of_this_job(bid.message().offer)?;
                Said::Bid(Box::new(bid))
            }
            Kind::Response => {
                let response = frame.open::<Response>(node)?;
                of_this_job(response.message().offer)?;
                Said::Response(Box::new(response))
            }
            Kind::Progress => {
                frame.progress()?;
                Said::Event(Event::Progress(self.peer))
            }
            Kind::Commit => {
                let commit = frame.open::<Commit>(node)?;
                of_this_job(commit.message().offer)?;
                Said::Commit(Box::new(commit))
            }
            Kind::Settle => {
                let receipt = frame.open::<Settle>(node)?;
                of_this_job(receipt.message().offer)?;
                Said::Receipt(Box::new(receipt))
            }
            kind => return Err(StreamError::Unexpected(kind)),
        }))
    }

    /// Opens the result on a stream of its own and writes what is verified to the output.
    async fn deliver(&self, verify: &Signed<Verify>, root: Hash, length: u64) {
        let output = self.output.clone();
        let (said, peer) = (self.said.clone(), self.peer);
        let mut reported = 0u64;
        let runtime = tokio::runtime::Handle::current();
        let sink = move |offset: u64, bytes: &[u8]| {
            let mut out = output.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let at = output.verified.load(Ordering::Acquire);
            // Groups come in order; one that an earlier deliverer brought already is passed over.
            if offset == at {
                // On a thread that may wait.
                runtime.block_on(out.write(Bytes::copy_from_slice(bytes)))?;
                output.verified.store(at + bytes.len() as u64, Ordering::Release);
            }
            if reported == 0 || offset - reported >= (1 << 20) {
                reported = offset.max(1);
                let _ = said.try_send((peer, Said::Event(Event::Bytes(peer))));
            }
            Ok(())
        };
        let start = verify.message().offset;
        let result = async {
            if start == length {
                // Another brought the last byte and was lost before it could be thanked.
                return Ok(());
            }
            let mut stream = self.connection.open().await?;
            stream.sender.send(verify).await?;
            stream.sender.finish();
            eider_net::receive(&mut stream.receiver, root.into(), length, (start, length), sink).await
        }
        .await;
        let failed = |why| Said::Event(Event::DeliveryFailed(peer, why));
        self.say(match result {
            Ok(()) => Said::Event(Event::Delivered(peer)),
            Err(BlobError::WrongBytes(_)) => failed(DeliveryFailure::WrongBytes),
            Err(BlobError::Io(e)) => Said::Output(e),
            Err(BlobError::Changed | BlobError::Stream(_)) => failed(DeliveryFailure::Broken),
        })
        .await;
    }
}

fn lost(e: &StreamError) -> LostWhy {
    match (e, e.reset_code()) {
        (StreamError::Reset(code), _) => LostWhy::ResetByWorker(*code),
        (e, Some(code)) => LostWhy::Misbehaved(code, e.to_string()),
        (e, None) => LostWhy::Disconnected(e.to_string()),
    }
}
