//! Streams that only the two ends of a Dispatch can read: keys out of its HPKE context, and records ([P-SEAL-2] to [P-SEAL-5]).
//!
//! TLS ends where the node's key file is; this ends where the sealing key is, in the worker's process. Who has the file and stands
//! between sees sizes, times, and with which code a stream ends.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::message::{decode, encode};
use crate::{DecodeError, Kind, OfferId, ResetCode};

/// Bytes of a record's plaintext at most: a chunk group of verified streaming.
pub const RECORD_MAX: usize = 16 << 10;
/// Bytes of a record before its ciphertext: how many of plaintext there are.
pub const RECORD_HEADER_BYTES: usize = 2;
/// Bytes after it.
const TAG_BYTES: usize = 16;

/// What a sealed stream is for. Its word is part of its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// The job's own stream: the requester asks.
    Job,
    /// The requester asks for the result.
    Verify,
    /// The worker asks for a part of an input.
    Fetch,
}

impl Lane {
    const fn word(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Verify => "verify",
            Self::Fetch => "fetch",
        }
    }
}

/// Either way, in clear: all that follows on this half of the stream is records under a key that this salt makes ([P-SEAL-3]).
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The job.
    pub offer: OfferId,
    /// Random; no two halves have the same.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 32],
}

impl Sealed {
    /// The frame's payload.
    pub fn to_payload(&self) -> Vec<u8> {
        encode(self)
    }
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode(Kind::Sealed, payload)
    }
}

/// Why what comes on a sealed stream is not what the other end of the Dispatch has sent. Who stands between can cause each of these,
/// so they are nobody's fault.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum SealedError {
    /// Something in clear after the Dispatch.
    #[error("it is not sealed")]
    Clear,
    /// It is announced for another job.
    #[error("it is sealed for another job")]
    OtherJob,
    /// A record of more bytes than one may have.
    #[error("a sealed record of {0} bytes, at most {RECORD_MAX} are allowed")]
    TooLarge(usize),
    /// Not made with the job's key, not in its place, or changed.
    #[error("a record is not sealed with this job's key")]
    Forged,
    /// The stream ends and its last record did not come.
    #[error("the sealed stream was cut off")]
    Cut,
    /// Something comes after the last record.
    #[error("something follows the end of the sealed stream")]
    AfterEnd,
    /// So many records that a nonce would be used twice: nothing is sent.
    #[error("a sealed stream has no more than 2^64 records")]
    Exhausted,
}

impl SealedError {
    /// The code that resets a stream on which this arrived.
    pub fn reset_code(self) -> ResetCode {
        ResetCode::Unsealed
    }
}

/// What the two ends of one Dispatch share and nobody else has.
#[derive(Clone)]
pub struct JobSecret {
    offer: OfferId,
    /// The Dispatch's encapsulated key: the salt of the requester's half of the job's stream.
    enc: [u8; 32],
    secret: [u8; 32],
}

impl std::fmt::Debug for JobSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JobSecret({})", self.offer)
    }
}

impl JobSecret {
    pub(crate) fn new(offer: OfferId, enc: [u8; 32], secret: [u8; 32]) -> Self {
        Self { offer, enc, secret }
    }

    /// The job.
    pub fn offer(&self) -> OfferId {
        self.offer
    }

    /// BLAKE3, keyed with the secret, of a versioned domain string, the lane's word and the salts: of a half that asks its own, of one
    /// that answers also its own after it, so that an answer belongs to its question ([P-SEAL-2]).
    fn key(&self, lane: Lane, asked: &[u8; 32], answered: Option<&[u8; 32]>) -> LessSafeKey {
        let mut h = blake3::Hasher::new_keyed(&self.secret);
        h.update(format!("eider/3 stream {}\0", lane.word()).as_bytes()).update(asked);
        if let Some(salt) = answered {
            h.update(salt);
        }
        let key = UnboundKey::new(&AES_256_GCM, h.finalize().as_bytes());
        LessSafeKey::new(key.expect("the hash has as many bytes as the cipher's key"))
    }

    fn announced(&self) -> Result<Sealed, getrandom::Error> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        Ok(Sealed { offer: self.offer, salt })
    }

    /// The salt of the requester's half of the job's stream: the Dispatch's encapsulated key, which is random.
    pub fn salt(&self) -> [u8; 32] {
        self.enc
    }

    /// What the requester's half of the job's stream is sealed with, from its Dispatch on, which announces it.
    pub fn dispatcher(&self) -> Sealer {
        Sealer { key: self.key(Lane::Job, &self.enc, None), next: 0 }
    }

    /// The worker's end of it.
    pub fn of_dispatcher(&self) -> Opener {
        Opener { key: self.key(Lane::Job, &self.enc, None), next: 0 }
    }

    /// What the worker's half of the job's stream is sealed with, and what announces it.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn worker(&self) -> Result<(Sealed, Sealer), getrandom::Error> {
        self.answer(Lane::Job, &self.enc)
    }

    /// The requester's end of it.
    ///
    /// # Errors
    /// [`SealedError::OtherJob`].
    pub fn of_worker(&self, announced: &Sealed) -> Result<Opener, SealedError> {
        self.of_answer(Lane::Job, &self.enc, announced)
    }

    /// What a question on a stream of its own is sealed with, and what announces it; its salt is what the answer is read with.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn ask(&self, lane: Lane) -> Result<(Sealed, Sealer), getrandom::Error> {
        let announced = self.announced()?;
        Ok((announced, Sealer { key: self.key(lane, &announced.salt, None), next: 0 }))
    }

    /// What a question is read with.
    ///
    /// # Errors
    /// [`SealedError::OtherJob`].
    pub fn of_ask(&self, lane: Lane, announced: &Sealed) -> Result<Opener, SealedError> {
        self.is_for(announced)?;
        Ok(Opener { key: self.key(lane, &announced.salt, None), next: 0 })
    }

    /// What the answer to a question is sealed with, and what announces it.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn answer(&self, lane: Lane, asked: &[u8; 32]) -> Result<(Sealed, Sealer), getrandom::Error> {
        let announced = self.announced()?;
        Ok((announced, Sealer { key: self.key(lane, asked, Some(&announced.salt)), next: 0 }))
    }

    /// What it is read with.
    ///
    /// # Errors
    /// [`SealedError::OtherJob`].
    pub fn of_answer(&self, lane: Lane, asked: &[u8; 32], announced: &Sealed) -> Result<Opener, SealedError> {
        self.is_for(announced)?;
        Ok(Opener { key: self.key(lane, asked, Some(&announced.salt)), next: 0 })
    }

    fn is_for(&self, announced: &Sealed) -> Result<(), SealedError> {
        if announced.offer == self.offer { Ok(()) } else { Err(SealedError::OtherJob) }
    }
}

/// The nonce of a record: its number, which is used once ([P-SEAL-4]).
fn take_nonce(next: &mut u64) -> Result<Nonce, SealedError> {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&next.to_be_bytes());
    *next = next.checked_add(1).ok_or(SealedError::Exhausted)?;
    Ok(Nonce::assume_unique_for_key(nonce))
}

/// Makes records for one half of a stream. It is not to be copied: a number is used once.
#[derive(Debug)]
pub struct Sealer {
    key: LessSafeKey,
    next: u64,
}

impl Sealer {
    /// Appends these bytes to `into`, as records.
    ///
    /// # Errors
    /// [`SealedError::Exhausted`].
    pub fn seal(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), SealedError> {
        let records = bytes.len().div_ceil(RECORD_MAX);
        into.reserve(bytes.len() + records * (RECORD_HEADER_BYTES + TAG_BYTES));
        bytes.chunks(RECORD_MAX).try_for_each(|bytes| self.record(bytes, into))
    }

    /// Appends the last record, which is empty.
    ///
    /// # Errors
    /// [`SealedError::Exhausted`].
    pub fn end(&mut self, into: &mut Vec<u8>) -> Result<(), SealedError> {
        self.record(&[], into)
    }

    fn record(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), SealedError> {
        let nonce = take_nonce(&mut self.next)?;
        let length = u16::try_from(bytes.len()).map_err(|_| SealedError::TooLarge(bytes.len()))?;
        into.extend_from_slice(&length.to_be_bytes());
        let at = into.len();
        into.extend_from_slice(bytes);
        // The length needs no protection of its own: with another one, the tag is sought in another place.
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut into[at..]);
        into.extend_from_slice(tag.map_err(|_| SealedError::TooLarge(bytes.len()))?.as_ref());
        Ok(())
    }
}

/// Opens the records of one half of a stream, in their order.
#[derive(Debug)]
pub struct Opener {
    key: LessSafeKey,
    next: u64,
}

impl Opener {
    /// Bytes of the record that has this header, less the header.
    ///
    /// # Errors
    /// [`SealedError::TooLarge`].
    pub fn record_bytes(header: [u8; RECORD_HEADER_BYTES]) -> Result<usize, SealedError> {
        let length = usize::from(u16::from_be_bytes(header));
        if length > RECORD_MAX { Err(SealedError::TooLarge(length)) } else { Ok(length + TAG_BYTES) }
    }

    /// Opens the next record, without its header, where it stands, and says how many bytes of plaintext it begins with; none at the
    /// stream's end.
    ///
    /// # Errors
    /// [`SealedError::Forged`].
    pub fn open(&mut self, record: &mut [u8]) -> Result<usize, SealedError> {
        let nonce = take_nonce(&mut self.next)?;
        let opened = self.key.open_in_place(nonce, Aad::empty(), record);
        opened.map(|plain| plain.len()).map_err(|_| SealedError::Forged)
    }

    /// Records that were opened, or tried.
    pub fn opened(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Dispatch, NodeId, SealingKey, Task};

    const JOB: OfferId = OfferId::from_bytes([9; 32]);
    const WORKER: NodeId = NodeId::from_bytes([8; 32]);

    fn secret() -> JobSecret {
        JobSecret::new(JOB, [1; 32], [2; 32])
    }

    fn task() -> Task {
        Task { sql: "SELECT 1".into(), inputs: vec![], time_us: 0, seed: [5; 32], salt: [6; 32] }
    }

    /// The record at the beginning of these bytes, less its header, and what follows it.
    fn split(records: &[u8]) -> (Vec<u8>, &[u8]) {
        let (header, rest) = records.split_first_chunk().unwrap();
        let (record, rest) = rest.split_at(Opener::record_bytes(*header).unwrap());
        (record.to_vec(), rest)
    }

    /// All that is sealed, up to the last record.
    fn opened(mut opener: Opener, mut records: &[u8]) -> Result<Vec<u8>, SealedError> {
        let mut plain = vec![];
        loop {
            let (mut record, rest) = split(records);
            let length = opener.open(&mut record)?;
            plain.extend_from_slice(&record[..length]);
            records = rest;
            if length == 0 {
                return Ok(plain);
            }
        }
    }

    fn sealed(mut sealer: Sealer, bytes: &[u8]) -> Vec<u8> {
        let mut records = vec![];
        sealer.seal(bytes, &mut records).unwrap();
        sealer.end(&mut records).unwrap();
        records
    }

    /// [P-SEAL-1], [P-SEAL-2], [P-SEAL-4]: what another program has sealed is opened by this one.
    #[test]
    fn a_dispatch_and_its_streams_are_those_of_the_golden_vector() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/streams.hex");
        let key = SealingKey::of_seed(&[7; 32]);
        let (asked, answered) = ([3; 32], [4; 32]);
        if std::env::var_os("EIDER_WRITE_GOLDEN").is_some() {
            let (dispatch, secret) = task().seal(JOB, WORKER, key.public(), None).unwrap();
            let sealer = |key| Sealer { key, next: 0 };
            let lines = [
                dispatch.enc.to_vec(),
                dispatch.sealed.clone(),
                sealed(secret.dispatcher(), b"settle"),
                sealed(sealer(secret.key(Lane::Job, &dispatch.enc, Some(&answered))), b"commit"),
                sealed(sealer(secret.key(Lane::Verify, &asked, None)), b"verify"),
                sealed(sealer(secret.key(Lane::Verify, &asked, Some(&answered))), b"result"),
                sealed(sealer(secret.key(Lane::Fetch, &asked, None)), b"fetch"),
                sealed(sealer(secret.key(Lane::Fetch, &asked, Some(&answered))), b"input"),
            ];
            std::fs::write(path, lines.map(|line| hex::encode(line) + "\n").concat()).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap();
        let lines: Vec<_> = golden.lines().map(|line| hex::decode(line).unwrap()).collect();
        let enc: [u8; 32] = lines[0].clone().try_into().unwrap();
        let dispatch = Dispatch { offer: JOB, worker: WORKER, enc, sealed: lines[1].clone() };
        let (opened_task, secret) = key.open(&dispatch, None).unwrap();
        assert_eq!(opened_task, task());
        let announced = |salt| Sealed { offer: JOB, salt };
        let openers = [
            (secret.of_dispatcher(), "settle"),
            (secret.of_worker(&announced(answered)).unwrap(), "commit"),
            (secret.of_ask(Lane::Verify, &announced(asked)).unwrap(), "verify"),
            (secret.of_answer(Lane::Verify, &asked, &announced(answered)).unwrap(), "result"),
            (secret.of_ask(Lane::Fetch, &announced(asked)).unwrap(), "fetch"),
            (secret.of_answer(Lane::Fetch, &asked, &announced(answered)).unwrap(), "input"),
        ];
        for ((opener, plain), line) in openers.into_iter().zip(&lines[2..]) {
            assert_eq!(opened(opener, line).unwrap(), plain.as_bytes(), "{plain}");
        }
    }

    /// [P-SEAL-2], [P-SEAL-3]: no half is sealed as another is, nor twice in the same way.
    #[test]
    fn each_half_of_each_stream_has_a_key_of_its_own() {
        let secret = secret();
        let mut keys = vec![];
        for lane in [Lane::Job, Lane::Verify, Lane::Fetch] {
            for asked in [[3; 32], [4; 32]] {
                keys.extend([None, Some([3; 32]), Some([4; 32])].map(|answered| (lane, asked, answered)));
            }
        }
        for (i, (lane, asked, answered)) in keys.iter().enumerate() {
            let sealer = Sealer { key: secret.key(*lane, asked, answered.as_ref()), next: 0 };
            let records = sealed(sealer, b"bytes");
            for (j, (lane, asked, answered)) in keys.iter().enumerate() {
                let opener = Opener { key: secret.key(*lane, asked, answered.as_ref()), next: 0 };
                assert_eq!(opened(opener, &records).is_ok(), i == j, "{i} {j}");
            }
        }
        let salts =
            [secret.ask(Lane::Fetch), secret.ask(Lane::Fetch), secret.answer(Lane::Fetch, &[3; 32]), secret.worker()];
        let salts: std::collections::HashSet<_> = salts.into_iter().map(|made| made.unwrap().0.salt).collect();
        assert_eq!(salts.len(), 4);
        let other = JobSecret::new(JOB, [1; 32], [3; 32]);
        assert_eq!(opened(other.of_dispatcher(), &sealed(secret.dispatcher(), b"")), Err(SealedError::Forged));
        let elsewhere = Sealed { offer: OfferId::from_bytes([1; 32]), salt: [3; 32] };
        assert_eq!(secret.of_worker(&elsewhere).unwrap_err(), SealedError::OtherJob);
        assert_eq!(secret.of_ask(Lane::Fetch, &elsewhere).unwrap_err(), SealedError::OtherJob);
    }

    /// [P-SEAL-4]: of any length, in records that are not too large, and the same bytes never twice.
    #[test]
    fn records_are_bounded_and_their_numbers_are_used_once() {
        for length in [0, 1, RECORD_MAX - 1, RECORD_MAX, RECORD_MAX + 1, 5 * RECORD_MAX + 7] {
            let bytes = vec![7; length];
            let records = sealed(secret().dispatcher(), &bytes);
            assert_eq!(opened(secret().of_dispatcher(), &records).unwrap(), bytes);
            let count = length.div_ceil(RECORD_MAX) + 1;
            assert_eq!(records.len(), length + count * (RECORD_HEADER_BYTES + TAG_BYTES));
        }
        let (mut sealer, mut twice) = (secret().dispatcher(), vec![]);
        sealer.seal(b"the same", &mut twice).unwrap();
        sealer.seal(b"the same", &mut twice).unwrap();
        let (first, second) = split(&twice);
        assert_ne!(first, split(second).0);
        for length in [RECORD_MAX + 1, 0xffff] {
            let header = u16::try_from(length).unwrap().to_be_bytes();
            assert_eq!(Opener::record_bytes(header), Err(SealedError::TooLarge(length)));
        }
        let mut last = Sealer { next: u64::MAX, ..secret().dispatcher() };
        assert_eq!(last.seal(b"one", &mut vec![]), Err(SealedError::Exhausted));
    }

    /// [P-SEAL-4], [P-SEAL-5]
    #[test]
    fn what_was_changed_moved_or_left_out_is_found_and_blames_nobody() {
        let records = sealed(secret().dispatcher(), &[7; RECORD_MAX + 100]);
        let (first, rest) = split(&records);
        let (second, end) = split(rest);
        for i in (0..first.len()).step_by(97).chain([first.len() - 1]) {
            let mut changed = first.clone();
            changed[i] ^= 1;
            assert_eq!(
                secret().of_dispatcher().open(&mut changed),
                Err(SealedError::Forged),
                "byte {i} does not matter"
            );
        }
        // Another record in its place, and none in its own.
        assert_eq!(secret().of_dispatcher().open(&mut second.clone()), Err(SealedError::Forged));
        let mut opener = secret().of_dispatcher();
        opener.open(&mut first.clone()).unwrap();
        assert_eq!(opener.open(&mut first.clone()), Err(SealedError::Forged));
        let mut opener = secret().of_dispatcher();
        opener.open(&mut first.clone()).unwrap();
        assert_eq!(opener.open(&mut split(end).0), Err(SealedError::Forged), "the end comes early");
        for mut bytes in [vec![], vec![0; TAG_BYTES - 1], vec![0; TAG_BYTES]] {
            assert_eq!(secret().of_dispatcher().open(&mut bytes), Err(SealedError::Forged));
        }
        let e = SealedError::Forged;
        assert_eq!((e.reset_code(), e.reset_code().fault()), (ResetCode::Unsealed, crate::Fault::None));
    }
}
