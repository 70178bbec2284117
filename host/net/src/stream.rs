//! Frames on a QUIC stream, and its typed end.

use eider_protocol::{
    Body, DecodeError, FrameHeader, HEADER_BYTES, Kind, NodeId, Progress, ResetCode, Signed, encode_frame,
};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};

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
}

impl StreamError {
    /// The code to reset the stream with, when the peer is at fault.
    pub fn reset_code(&self) -> Option<ResetCode> {
        match self {
            Self::Decode(e) => Some(e.reset_code()),
            Self::Unexpected(_) => Some(ResetCode::Unexpected),
            Self::Ended => Some(ResetCode::Malformed),
            _ => None,
        }
    }

    fn of_code(code: VarInt) -> Self {
        ResetCode::from_code(code.into_inner()).map_or(Self::UnknownReset(code.into_inner()), Self::Reset)
    }
}

impl From<ReadError> for StreamError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Reset(code) => Self::of_code(code),
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
        Self { receiver: Receiver { recv }, sender: Sender { send } }
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
    pub fn open<T: Body>(&self, signer: NodeId) -> Result<Signed<T>, StreamError> {
        if self.kind != T::KIND {
            return Err(StreamError::Unexpected(self.kind));
        }
        Ok(Signed::open(&self.payload, signer)?)
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
}

/// The reading half.
#[derive(Debug)]
pub struct Receiver {
    recv: RecvStream,
}

impl Receiver {
    /// The next frame; `None` when the peer has finished the stream between frames.
    ///
    /// # Errors
    /// [`StreamError`]. Nothing is allocated for a payload before its length is checked.
    pub async fn frame(&mut self) -> Result<Option<Incoming>, StreamError> {
        let mut header = [0; HEADER_BYTES];
        match self.recv.read_exact(&mut header).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
            Err(ReadExactError::FinishedEarly(_)) => return Err(StreamError::Ended),
            Err(ReadExactError::ReadError(e)) => return Err(e.into()),
        }
        let header = FrameHeader::parse(header).map_err(DecodeError::from)?;
        let mut payload = vec![0; header.length];
        match self.recv.read_exact(&mut payload).await {
            Ok(()) => Ok(Some(Incoming { kind: header.kind, payload })),
            Err(ReadExactError::FinishedEarly(_)) => Err(StreamError::Ended),
            Err(ReadExactError::ReadError(e)) => Err(e.into()),
        }
    }

    /// The next frame, which must be.
    ///
    /// # Errors
    /// [`StreamError::Ended`] when the stream is finished.
    pub async fn expect(&mut self) -> Result<Incoming, StreamError> {
        self.frame().await?.ok_or(StreamError::Ended)
    }

    /// The next raw bytes, for verified streaming; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn bytes(&mut self) -> Result<Option<bytes::Bytes>, StreamError> {
        Ok(self.recv.read_chunk(256 << 10, true).await?.map(|c| c.bytes))
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        let _ = self.recv.stop(VarInt::from_u32(code.code()));
    }

    /// Resolves when the peer resets the stream or the connection is lost; bytes that come meanwhile are an error.
    pub async fn reset_by_peer(&mut self) -> StreamError {
        match self.recv.received_reset().await {
            Ok(Some(code)) => StreamError::of_code(code),
            Ok(None) => std::future::pending().await,
            Err(e) => StreamError::Lost(e.to_string()),
        }
    }
}

/// The writing half.
#[derive(Debug)]
pub struct Sender {
    send: SendStream,
}

impl Sender {
    /// Sends a signed message.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn send<T: Body>(&mut self, message: &Signed<T>) -> Result<(), StreamError> {
        self.frame(T::KIND, &message.to_payload()).await
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`StreamError`]; a payload over the kind's maximum is a decode error of ours and not sent.
    pub async fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), StreamError> {
        let frame = encode_frame(kind, payload).map_err(DecodeError::from)?;
        self.bytes(frame.into()).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn bytes(&mut self, bytes: bytes::Bytes) -> Result<(), StreamError> {
        match self.send.write_chunk(bytes).await {
            Ok(()) => Ok(()),
            Err(quinn::WriteError::Stopped(code)) => Err(StreamError::of_code(code)),
            Err(e) => Err(StreamError::Lost(e.to_string())),
        }
    }

    /// No more comes.
    pub fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// Waits until the peer has everything, or wants no more.
    pub async fn delivered(&mut self) {
        let _ = self.send.stopped().await;
    }

    /// Abandons what is under way.
    pub fn reset(&mut self, code: ResetCode) {
        let _ = self.send.reset(VarInt::from_u32(code.code()));
    }
}
