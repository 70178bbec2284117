//! The two halves of a sealed stream: what makes records of what is sent, and bytes of the records that come.

use bytes::{Buf, Bytes, BytesMut};
use eider_protocol::{
    FrameHeader, HEADER_BYTES, JobSecret, Kind, Lane, Opener, RECORD_HEADER_BYTES, Sealed, SealedError, Sealer,
    encode_frame,
};

/// Seals what is sent on a stream.
#[derive(Debug)]
pub(crate) struct Sealing {
    sealer: Sealer,
    /// What announces it, until it has left.
    announced: Option<Sealed>,
}

impl Sealing {
    pub(crate) fn new(sealer: Sealer, announced: Option<Sealed>) -> Self {
        Self { sealer, announced }
    }

    /// What travels for these bytes.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Result<Bytes, SealedError> {
        let mut records = self.before();
        self.sealer.seal(bytes, &mut records)?;
        Ok(records.into())
    }

    /// What travels at the end.
    pub(crate) fn end(&mut self) -> Result<Bytes, SealedError> {
        let mut records = self.before();
        self.sealer.end(&mut records)?;
        Ok(records.into())
    }

    fn before(&mut self) -> Vec<u8> {
        let announced = self.announced.take().and_then(|sealed| encode_frame(Kind::Sealed, &sealed.to_payload()).ok());
        announced.unwrap_or_default()
    }
}

/// Opens what comes on a stream.
#[derive(Debug)]
pub(crate) struct Opening {
    opener: Awaited,
    /// What came and was not looked at.
    raw: Bytes,
    /// The record, or the frame that announces them, of which a part came, with its header. It grows with what came, until the peer has
    /// shown that it has the key.
    record: BytesMut,
    /// Of the last record, what nobody has taken.
    plain: Bytes,
    ended: bool,
}

/// What opens records, or what it will be made of when they are announced.
#[derive(Debug)]
enum Awaited {
    Records(Box<Opener>),
    Answer(JobSecret, Lane, [u8; 32]),
}

impl Opening {
    pub(crate) fn new(opener: Opener) -> Self {
        Self::of(Awaited::Records(Box::new(opener)))
    }

    pub(crate) fn of_answer(secret: JobSecret, lane: Lane, asked: [u8; 32]) -> Self {
        Self::of(Awaited::Answer(secret, lane, asked))
    }

    fn of(opener: Awaited) -> Self {
        Self { opener, raw: Bytes::new(), record: BytesMut::new(), plain: Bytes::new(), ended: false }
    }

    /// More came; what came before was all looked at.
    pub(crate) fn took(&mut self, raw: Bytes) {
        debug_assert!(self.raw.is_empty(), "what came is looked at before more is taken");
        self.raw = raw;
    }

    /// The last record came.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes that the record under way still needs; one, where none may come, to see that none does.
    pub(crate) fn missing(&self) -> Result<usize, SealedError> {
        let whole = match &self.opener {
            _ if self.ended => return Ok(1),
            Awaited::Records(_) => match self.record.first_chunk() {
                None => RECORD_HEADER_BYTES,
                Some(header) => RECORD_HEADER_BYTES + Opener::record_bytes(*header)?,
            },
            // Anybody with the key file can say anything in clear.
            Awaited::Answer(..) => match self.record.first_chunk().map(|header| FrameHeader::parse(*header)) {
                None => HEADER_BYTES,
                Some(Ok(header)) if header.kind == Kind::Sealed => HEADER_BYTES + header.length,
                Some(_) => return Err(SealedError::Clear),
            },
        };
        Ok(whole - self.record.len())
    }

    /// Up to so many bytes that were sealed; none, if more must come first.
    pub(crate) fn plain(&mut self, max: usize) -> Result<Option<Bytes>, SealedError> {
        while self.plain.is_empty() {
            if self.raw.is_empty() {
                return Ok(None);
            }
            if self.ended {
                return Err(SealedError::AfterEnd);
            }
            let missing = self.missing()?;
            if matches!(&self.opener, Awaited::Records(opener) if opener.opened() > 0) {
                self.record.reserve(missing);
            }
            let part = self.raw.split_to(missing.min(self.raw.len()));
            self.record.extend_from_slice(&part);
            // A header is never all of a record.
            if self.missing()? == 0 {
                self.open()?;
            }
        }
        Ok(Some(self.plain.split_to(max.min(self.plain.len()))))
    }

    fn open(&mut self) -> Result<(), SealedError> {
        let mut record = self.record.split();
        match &mut self.opener {
            Awaited::Records(opener) => {
                record.advance(RECORD_HEADER_BYTES);
                let length = opener.open(&mut record)?;
                self.ended = length == 0;
                record.truncate(length);
                self.plain = record.freeze();
            }
            Awaited::Answer(secret, lane, asked) => {
                let announced = Sealed::decode(&record[HEADER_BYTES..]).map_err(|_| SealedError::Clear)?;
                self.opener = Awaited::Records(Box::new(secret.of_answer(*lane, asked, &announced)?));
            }
        }
        Ok(())
    }
}
