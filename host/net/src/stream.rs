//! Frames on a QUIC stream, in clear or sealed with a job's key, and its typed end.
//!
//! Reading may be dropped at any await and loses nothing ([`Receiver::frame_of`], [`Receiver::bytes`]). A write that is
//! dropped, or that ends in an error, may leave half a frame: the [`Sender`] then takes nothing more, and resets the stream
//! when it is dropped, so that the peer never takes half a frame for a whole one or for a breach. In a `select!`, write
//! through an [`Outbox`](crate::Outbox).

use std::time::Duration;

use bytes::Bytes;
use eider_protocol::{
    Body, DecodeError, FrameHeader, HEADER_BYTES, JobSecret, Kind, Lane, NodeId, Opener, Progress, ResetCode, Sealed,
    SealedError, Sealer, Signed, Version, encode_frame,
};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::timeout;

use eider_protocol::printable;

use crate::sealed::{Opening, Sealing};

/// Bytes of a payload that are asked for at once: what a peer claims costs nothing, only what it sends.
const STEP: usize = 64 << 10;
/// Chunks of raw bytes that one look into the connection takes: a chunk is a packet's, so this is about 40 KiB. Of a frame no more is
/// taken than it needs: a chunk keeps the whole of what the socket gave with it in memory, so what nobody reads yet is left to
/// QUIC, which counts it in the windows.
const CHUNKS: usize = 32;
/// How long a frame may take to be handed over where nobody says otherwise: a peer that reads does it in round trips.
const HANDED_OVER: Duration = Duration::from_secs(10);

/// Why a stream gives no more.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StreamError {
    /// The peer reset it, with a code of ours.
    #[error("reset by the peer: {0}")]
    Reset(ResetCode),
    /// The peer reset it, with a code that this version does not know.
    #[error("reset by the peer with unknown code {0}")]
    UnknownReset(u64),
    /// It ended where a message had to be.
    #[error("the stream ended early")]
    Ended,
    /// The connection is gone.
    #[error("connection lost: {0}")]
    Lost(String),
    /// What came is no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message, but not one that can come here.
    #[error("{0} message out of order")]
    Unexpected(Kind),
    /// The peer did not take what was sent in the time that it was given. Nobody's fault.
    #[error("the peer does not read")]
    Stalled,
    /// What came is not sealed with the job's key. Nobody's fault: whoever has the key file of one end can have sent it.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// Nothing can be sealed: the operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Random,
}

impl StreamError {
    /// The code that says what was wrong with what came; [`ResetCode::fault`] says whose fault it is. None where nothing came.
    pub fn reset_code(&self) -> Option<ResetCode> {
        match self {
            Self::Decode(e) => Some(e.reset_code()),
            Self::Unexpected(_) => Some(ResetCode::Unexpected),
            Self::Ended => Some(ResetCode::Malformed),
            Self::Sealed(e) => Some(e.reset_code()),
            _ => None,
        }
    }

    /// The code to answer it with.
    pub fn code(&self) -> ResetCode {
        match self {
            Self::Stalled => ResetCode::Stalled,
            e => e.reset_code().unwrap_or(ResetCode::Cancelled),
        }
    }

    pub(crate) fn lost(e: &ConnectionError) -> Self {
        Self::Lost(printable(&e.to_string(), crate::WORDS_MAX))
    }

    fn of_code(code: VarInt) -> Self {
        ResetCode::from_code(code.into_inner()).map_or(Self::UnknownReset(code.into_inner()), Self::Reset)
    }
}

impl From<getrandom::Error> for StreamError {
    fn from(_: getrandom::Error) -> Self {
        Self::Random
    }
}

impl From<ReadError> for StreamError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Reset(code) => Self::of_code(code),
            ReadError::ConnectionLost(e) => Self::lost(&e),
            e => Self::Lost(e.to_string()),
        }
    }
}

impl From<WriteError> for StreamError {
    fn from(e: WriteError) -> Self {
        match e {
            WriteError::Stopped(code) => Self::of_code(code),
            WriteError::ConnectionLost(e) => Self::lost(&e),
            e => Self::Lost(e.to_string()),
        }
    }
}

/// A stream of frames.
#[derive(Debug)]
pub struct JobStream {
    /// What is read.
    pub receiver: Receiver,
    /// What is written.
    pub sender: Sender,
}

impl JobStream {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { receiver: Receiver::new(recv), sender: Sender { send, torn: false, owned: false, sealing: None } }
    }

    /// Makes this a stream on which a question is sealed with a job's key, and its answer must be: all from here on.
    ///
    /// # Errors
    /// [`StreamError::Random`].
    pub fn ask(&mut self, secret: &JobSecret, lane: Lane) -> Result<(), StreamError> {
        let (announced, sealer) = secret.ask(lane)?;
        self.sender.seal(sealer, Some(announced));
        self.receiver.unseal_answer(secret, lane, announced.salt);
        Ok(())
    }

    /// Takes what announces a question that is sealed with a job's key: it is read with that key, and answered with it.
    ///
    /// # Errors
    /// [`StreamError::Sealed`] if it is of another job, [`StreamError::Random`].
    pub fn asked(&mut self, secret: &JobSecret, lane: Lane, announced: &Sealed) -> Result<(), StreamError> {
        self.receiver.unseal(secret.of_ask(lane, announced)?);
        let (answer, sealer) = secret.answer(lane, &announced.salt)?;
        self.sender.seal(sealer, Some(answer));
        Ok(())
    }

    /// Ends both directions with a code.
    pub fn reset(&mut self, code: ResetCode) {
        self.sender.reset(code);
        self.receiver.stop(code);
    }
}

/// A frame that came in: its kind and payload, not yet decoded.
#[derive(Debug)]
pub struct Incoming {
    /// Its kind.
    pub kind: Kind,
    /// Its payload, bounded by the kind's maximum.
    pub payload: Vec<u8>,
}

impl Incoming {
    /// The signed message that this must be.
    ///
    /// # Errors
    /// [`StreamError::Unexpected`] for another kind, [`StreamError::Decode`].
    pub fn open<T: Body>(&self, version: Version, signer: NodeId) -> Result<Signed<T>, StreamError> {
        if self.kind != T::KIND {
            return Err(StreamError::Unexpected(self.kind));
        }
        Ok(Signed::open(&self.payload, version, signer)?)
    }

    /// The Progress that this must be.
    ///
    /// # Errors
    /// As [`Incoming::open`].
    pub fn progress(&self) -> Result<Progress, StreamError> {
        if self.kind != Kind::Progress {
            return Err(StreamError::Unexpected(self.kind));
        }
        Ok(Progress::decode(&self.payload)?)
    }

    /// The Sealed that this must be.
    ///
    /// # Errors
    /// As [`Incoming::open`].
    pub fn sealed(&self) -> Result<Sealed, StreamError> {
        if self.kind != Kind::Sealed {
            return Err(StreamError::Unexpected(self.kind));
        }
        Ok(Sealed::decode(&self.payload)?)
    }
}

/// The reading half.
#[derive(Debug)]
pub struct Receiver {
    recv: RecvStream,
    /// Bytes that were taken from the connection and not yet asked for, in order; empty ones are used up.
    chunks: [Bytes; CHUNKS],
    next: usize,
    /// A frame of which a part came.
    partial: Partial,
    /// What opens what comes, once that is sealed.
    opening: Option<Opening>,
}

#[derive(Debug, Default)]
struct Partial {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    payload: Vec<u8>,
}

impl Receiver {
    fn new(recv: RecvStream) -> Self {
        Self { recv, chunks: Default::default(), next: CHUNKS, partial: Partial::default(), opening: None }
    }

    /// All that comes from here on is sealed.
    pub fn unseal(&mut self, opener: Opener) {
        self.opening = Some(Opening::new(opener));
    }

    /// What comes from here on is the sealed answer to a question with this salt: what announces it, and records.
    pub fn unseal_answer(&mut self, secret: &JobSecret, lane: Lane, asked: [u8; 32]) {
        self.opening = Some(Opening::of_answer(secret.clone(), lane, asked));
    }

    /// The next frame; `None` when the peer has finished the stream between frames. The kind is checked against what can
    /// come now before anything is allocated for the payload, which then grows with what came, whatever length it claims
    /// ([P-FRAME-2]). This may be dropped and called again, also with other kinds.
    ///
    /// # Errors
    /// [`StreamError`]; [`StreamError::Unexpected`] for a kind that is not allowed.
    pub async fn frame_of(&mut self, allowed: &[Kind]) -> Result<Option<Incoming>, StreamError> {
        loop {
            let wanted = match self.header(allowed)? {
                None => HEADER_BYTES - self.partial.header_bytes,
                Some(header) if self.partial.payload.len() == header.length => {
                    let payload = std::mem::take(&mut self.partial).payload;
                    return Ok(Some(Incoming { kind: header.kind, payload }));
                }
                Some(header) => (header.length - self.partial.payload.len()).min(STEP),
            };
            let Some(bytes) = self.at_most(wanted).await? else {
                return if self.partial.header_bytes == 0 { Ok(None) } else { Err(StreamError::Ended) };
            };
            let partial = &mut self.partial;
            if partial.header_bytes < HEADER_BYTES {
                partial.header[partial.header_bytes..][..bytes.len()].copy_from_slice(&bytes);
                partial.header_bytes += bytes.len();
            } else {
                // By half at most, and not doubled: what was claimed and has not come takes little.
                if partial.payload.capacity() - partial.payload.len() < bytes.len() {
                    partial.payload.reserve_exact((partial.payload.len() / 2).max(STEP).max(bytes.len()));
                }
                partial.payload.extend_from_slice(&bytes);
            }
        }
    }

    /// Waits for the header of the next frame, which must be; nothing of its payload is read. May be dropped and called again.
    ///
    /// # Errors
    /// As [`Receiver::expect_of`].
    pub async fn header_of(&mut self, allowed: &[Kind]) -> Result<FrameHeader, StreamError> {
        loop {
            if let Some(header) = self.header(allowed)? {
                return Ok(header);
            }
            let wanted = HEADER_BYTES - self.partial.header_bytes;
            let bytes = self.at_most(wanted).await?.ok_or(StreamError::Ended)?;
            self.partial.header[self.partial.header_bytes..][..bytes.len()].copy_from_slice(&bytes);
            self.partial.header_bytes += bytes.len();
        }
    }

    fn header(&self, allowed: &[Kind]) -> Result<Option<FrameHeader>, StreamError> {
        if self.partial.header_bytes < HEADER_BYTES {
            return Ok(None);
        }
        let header = FrameHeader::parse(self.partial.header).map_err(DecodeError::from)?;
        if allowed.contains(&header.kind) { Ok(Some(header)) } else { Err(StreamError::Unexpected(header.kind)) }
    }

    /// The next frame, which must be.
    ///
    /// # Errors
    /// As [`Receiver::frame_of`]; [`StreamError::Ended`] when the stream is finished.
    pub async fn expect_of(&mut self, allowed: &[Kind]) -> Result<Incoming, StreamError> {
        self.frame_of(allowed).await?.ok_or(StreamError::Ended)
    }

    /// The next raw bytes, for verified streaming; `None` at the end. This may be dropped.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn bytes(&mut self) -> Result<Option<Bytes>, StreamError> {
        self.at_most(usize::MAX).await
    }

    async fn at_most(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        loop {
            let Some(opening) = &mut self.opening else { return self.raw(max).await };
            if let Some(bytes) = opening.plain(max)? {
                return Ok(Some(bytes));
            }
            // For all that comes, or for no more than a record needs.
            let wanted = if max < usize::MAX { opening.missing()? } else { max };
            let Some(bytes) = self.raw(wanted).await? else { return self.raw_end() };
            if let Some(opening) = &mut self.opening {
                opening.took(bytes);
            }
        }
    }

    /// The connection has no more of this stream.
    fn raw_end<T>(&self) -> Result<Option<T>, StreamError> {
        match &self.opening {
            Some(opening) if !opening.ended() => Err(SealedError::Cut.into()),
            _ => Ok(None),
        }
    }

    /// Bytes as they travel.
    async fn raw(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(bytes) = self.buffered_at_most(max) {
                return Ok(Some(bytes));
            }
            if max < usize::MAX {
                return Ok(self.recv.read_chunk(max, true).await?.map(|chunk| chunk.bytes));
            }
            if self.recv.read_chunks(&mut self.chunks).await?.is_none() {
                return Ok(None);
            }
            self.next = 0;
        }
    }

    /// A piece that is here already.
    ///
    /// # Errors
    /// [`StreamError::Sealed`].
    pub(crate) fn ready(&mut self) -> Result<Option<Piece>, StreamError> {
        let Some(opening) = &mut self.opening else {
            return Ok(self.buffered_at_most(usize::MAX).map(Piece::from));
        };
        if let Some(bytes) = opening.plain(usize::MAX)? {
            return Ok(Some(Piece { bytes, moved: 0 }));
        }
        let Some(raw) = self.buffered_at_most(usize::MAX) else { return Ok(None) };
        self.opened(raw).map(Some)
    }

    /// The next piece, with one look into the connection. May be dropped.
    ///
    /// # Errors
    /// [`StreamError`].
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>, StreamError> {
        match self.raw(usize::MAX).await? {
            Some(raw) => self.opened(raw).map(Some),
            None => self.raw_end(),
        }
    }

    fn opened(&mut self, raw: Bytes) -> Result<Piece, StreamError> {
        let moved = raw.len();
        let Some(opening) = &mut self.opening else { return Ok(raw.into()) };
        opening.took(raw);
        Ok(Piece { bytes: opening.plain(usize::MAX)?.unwrap_or_default(), moved })
    }

    fn buffered_at_most(&mut self, max: usize) -> Option<Bytes> {
        let rest = self.chunks.get_mut(self.next..)?;
        let skipped = rest.iter().take_while(|chunk| chunk.is_empty()).count();
        self.next += skipped;
        let chunk = rest.get_mut(skipped)?;
        Some(chunk.split_to(max.min(chunk.len())))
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        let _ = self.recv.stop(VarInt::from_u32(code.code()));
    }
}

/// What one look into the connection gave.
#[derive(Debug)]
pub(crate) struct Piece {
    /// None, where a sealed record is not yet whole.
    pub(crate) bytes: Bytes,
    /// Bytes that the peer moved for it.
    pub(crate) moved: usize,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { moved: bytes.len(), bytes }
    }
}

/// The writing half.
#[derive(Debug)]
pub struct Sender {
    send: SendStream,
    /// What seals what is sent, if anything does.
    pub(crate) sealing: Option<Sealing>,
    /// Something was begun and not ended: the stream holds half of it.
    torn: bool,
    /// An outbox has it: whoever drops the outbox gives the stream up.
    pub(crate) owned: bool,
}

impl Sender {
    /// All that is sent from here on is sealed; what announces it leaves with the first of it.
    pub fn seal(&mut self, sealer: Sealer, announced: Option<Sealed>) {
        self.sealing = Some(Sealing::new(sealer, announced));
    }

    /// Sends a signed message. The peer has ten seconds to take it.
    ///
    /// # Errors
    /// As [`Sender::frame_within`].
    pub async fn send<T: Body>(&mut self, message: &Signed<T>) -> Result<(), StreamError> {
        self.send_within(message, HANDED_OVER).await
    }

    /// Sends a signed message; the peer has `limit` to take it.
    ///
    /// # Errors
    /// As [`Sender::frame_within`].
    pub async fn send_within<T: Body>(&mut self, message: &Signed<T>, limit: Duration) -> Result<(), StreamError> {
        self.frame_within(T::KIND, &message.to_payload(), limit).await
    }

    /// Sends a frame. The peer has ten seconds to take it.
    ///
    /// # Errors
    /// As [`Sender::frame_within`].
    pub async fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), StreamError> {
        self.frame_within(kind, payload, HANDED_OVER).await
    }

    /// Sends a frame; the peer has `limit` to take it, that is, to make room for it in the connection's windows. Not to be
    /// dropped before it is done: the stream could then only be reset.
    ///
    /// # Errors
    /// [`StreamError`]; a payload over the kind's maximum is a decode error of ours and not sent; [`StreamError::Stalled`] when
    /// the time is up, or when the stream holds half a frame from before.
    pub async fn frame_within(&mut self, kind: Kind, payload: &[u8], limit: Duration) -> Result<(), StreamError> {
        let frame = encode_frame(kind, payload).map_err(DecodeError::from)?;
        self.bytes_within(frame.into(), limit).await
    }

    /// Sends bytes as they are, or as they are sealed. The peer has ten seconds to take them.
    ///
    /// # Errors
    /// As [`Sender::frame_within`].
    pub async fn bytes(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.bytes_within(bytes, HANDED_OVER).await
    }

    async fn bytes_within(&mut self, bytes: Bytes, limit: Duration) -> Result<(), StreamError> {
        self.begin()?;
        let bytes = match &mut self.sealing {
            Some(sealing) => sealing.seal(&bytes)?,
            None => bytes,
        };
        timeout(limit, self.send.write_chunk(bytes)).await.map_err(|_| StreamError::Stalled)??;
        self.end();
        Ok(())
    }

    /// Something begins that is worth nothing by halves.
    pub(crate) fn begin(&mut self) -> Result<(), StreamError> {
        if self.torn {
            return Err(StreamError::Stalled);
        }
        self.torn = true;
        Ok(())
    }

    /// It is complete.
    pub(crate) fn end(&mut self) {
        self.torn = false;
    }

    /// Hands over what there is room for, and says how much that was. This may be dropped.
    pub(crate) async fn some(&mut self, bytes: &mut Bytes) -> Result<usize, StreamError> {
        Ok(self.send.write_chunks(std::slice::from_mut(bytes)).await?.bytes)
    }

    /// No more comes. The peer of a sealed stream has ten seconds to take its last record. A stream that holds half a frame is not
    /// finished but reset.
    pub async fn finish(&mut self) {
        self.finish_within(HANDED_OVER).await;
    }

    /// The same, where the peer has `limit` to take the last record.
    pub async fn finish_within(&mut self, limit: Duration) {
        if !self.torn
            && let Some(sealing) = &mut self.sealing
        {
            self.torn = true;
            if let Ok(end) = sealing.end() {
                let handed_over = timeout(limit, self.send.write_chunk(end)).await;
                self.torn = !matches!(handed_over, Ok(Ok(())));
            }
        }
        if self.torn {
            self.reset(ResetCode::Cancelled);
        } else {
            let _ = self.send.finish();
        }
    }

    /// Waits until the peer has everything, or wants no more: as long as the peer likes, so only within a limit of yours.
    pub async fn delivered(&mut self) {
        let _ = self.send.stopped().await;
    }

    /// Abandons what is under way.
    pub fn reset(&mut self, code: ResetCode) {
        let _ = self.send.reset(VarInt::from_u32(code.code()));
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // quinn would stop it with a code that is none of ours. Of a stream that was read to its end this does nothing.
        self.stop(ResetCode::Cancelled);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // quinn would finish it, and the peer would take half a frame for our breach.
        if self.torn || self.owned {
            self.reset(ResetCode::Cancelled);
        }
    }
}
