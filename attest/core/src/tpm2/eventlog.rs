//! TCG event logs: what firmware and boot loader say they have measured, replayed into the registers that it leads to.
//!
//! Two forms are read: that of TPM 1.2 (SHA-1 only) and the crypto-agile one (TCG PC Client Platform Firmware Profile,
//! section 10). A log shows that registers are explained, and reference values in a policy say which registers are wanted. What
//! an event describes is looked at for register 7 alone ([`secureboot`](super::secureboot)).

use std::collections::BTreeMap;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::parse::{ParseError, Reader, id};

/// Bytes of the largest log: it travels in an envelope, with certificates beside it.
pub const LOG_MAX: usize = 192 << 10;
/// Events in one log. The smallest event has 32 bytes.
const EVENTS_MAX: usize = 8192;
/// Banks in one log.
const BANKS_MAX: u32 = 8;
/// The largest digest of a bank, bytes.
const DIGEST_MAX: u16 = 64;
/// Register of Secure Boot: its settings, and whose signatures let through what was started.
pub const SECURE_BOOT: u8 = 7;
/// `EV_NO_ACTION`: information that no register holds.
const NO_ACTION: u32 = 3;
/// How the first event of a crypto-agile log begins.
const AGILE: &[u8; 16] = b"Spec ID Event03\0";
/// How the event begins that says which locality has started the TPM; one byte follows.
const LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum LogError {
    /// Over [`LOG_MAX`].
    #[error("the log has {0} bytes; at most {LOG_MAX} are read")]
    TooLarge(usize),
    /// Over the limit.
    #[error("the log has more than {EVENTS_MAX} events")]
    TooMany,
    /// Not as the profile says.
    #[error("event {event}: {error}")]
    Event {
        /// Counted from 0.
        event: usize,
        /// What is wrong.
        error: ParseError,
    },
    /// Digests that do not fit the log's header.
    #[error("event {event}: {why}")]
    Digests {
        /// Counted from 0.
        event: usize,
        /// What is wrong.
        why: &'static str,
    },
}

/// An event of register [`SECURE_BOOT`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Counted from 0 in the whole log.
    pub number: usize,
    /// `EV_…`: what the log calls it, which no register holds.
    pub kind: u32,
    /// What the register of the SHA-256 bank was extended with.
    pub sha256: [u8; 32],
    /// What that is said to be the digest of.
    pub data: Vec<u8>,
}

/// The registers that a log leads to. A register without events is not in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replay {
    /// SHA-256 bank; empty if the log has none.
    pub sha256: BTreeMap<u8, [u8; 32]>,
    /// SHA-1 bank.
    pub sha1: BTreeMap<u8, [u8; 20]>,
    /// Whether the log has SHA-256 digests.
    pub has_sha256: bool,
    /// Locality that started the TPM: register 0 begins with it.
    pub locality: u8,
    /// Number of events.
    pub events: usize,
    /// Events of register [`SECURE_BOOT`] with a SHA-256 digest, in their order.
    pub secure_boot: Vec<Event>,
}

/// Replays a log.
///
/// # Errors
/// [`LogError`].
pub fn replay(log: &[u8]) -> Result<Replay, LogError> {
    if log.len() > LOG_MAX {
        return Err(LogError::TooLarge(log.len()));
    }
    let mut r = Reader::new(log, "the log");
    let mut replay = Replay::default();
    let mut banks: Option<Vec<(u16, u16)>> = None;
    while !r.rest().is_empty() {
        let event = replay.events;
        if event >= EVENTS_MAX {
            return Err(LogError::TooMany);
        }
        let at = |error| LogError::Event { event, error };
        let digests = |why| LogError::Digests { event, why };
        let (register, kind) = (le32(&mut r).map_err(at)?, le32(&mut r).map_err(at)?);
        let found = match &banks {
            None => Digests { sha1: Some(r.array().map_err(at)?), sha256: None },
            Some(banks) => agile(&mut r, banks).map_err(at)?,
        };
        let len = le32(&mut r).map_err(at)?;
        let data = r.take(usize::try_from(len).unwrap_or(usize::MAX)).map_err(at)?;
        replay.events += 1;
        if kind == NO_ACTION {
            if event == 0 && data.starts_with(AGILE) {
                let named = header(data).map_err(at)?;
                replay.has_sha256 = named.iter().any(|(bank, _)| *bank == id::SHA256);
                banks = Some(named);
            } else if let Some([locality]) = data.strip_prefix(LOCALITY) {
                if replay.sha1.contains_key(&0) || replay.sha256.contains_key(&0) || replay.locality != 0 {
                    return Err(digests("the startup locality comes after a measurement, or twice"));
                }
                replay.locality = *locality;
            }
            continue;
        }
        let Some(register) = u8::try_from(register).ok().filter(|r| *r < 24) else {
            return Err(digests("a register over 23"));
        };
        if replay.has_sha256 != found.sha256.is_some() {
            return Err(digests("its digests are not those that the log's header promises"));
        }
        let start = if register == 0 { replay.locality } else { 0 };
        if let Some(digest) = found.sha1 {
            let value = replay.sha1.entry(register).or_insert_with(|| begin(start));
            extend(&SHA1_FOR_LEGACY_USE_ONLY, value, &digest);
        }
        if let Some(digest) = found.sha256 {
            let value = replay.sha256.entry(register).or_insert_with(|| begin(start));
            extend(&SHA256, value, &digest);
            if register == SECURE_BOOT {
                replay.secure_boot.push(Event { number: event, kind, sha256: digest, data: data.to_vec() });
            }
        }
    }
    Ok(replay)
}

fn begin<const N: usize>(locality: u8) -> [u8; N] {
    let mut value = [0; N];
    if let Some(last) = value.last_mut() {
        *last = locality;
    }
    value
}

fn extend<const N: usize>(hash: &'static ring::digest::Algorithm, value: &mut [u8; N], digest: &[u8; N]) {
    let mut context = Context::new(hash);
    context.update(value);
    context.update(digest);
    // Both algorithms make as many bytes as the registers of their bank have.
    for (to, from) in value.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
}

#[derive(Default)]
struct Digests {
    sha1: Option<[u8; 20]>,
    sha256: Option<[u8; 32]>,
}

/// The digests of one event, whose lengths the header says.
fn agile(r: &mut Reader<'_>, banks: &[(u16, u16)]) -> Result<Digests, ParseError> {
    let count = le32(r)?;
    if count > BANKS_MAX {
        return Err(ParseError::Value { what: "the number of digests", found: count.into() });
    }
    let mut digests = Digests::default();
    for _ in 0..count {
        let bank = le16(r)?;
        let Some((_, len)) = banks.iter().find(|(b, _)| *b == bank) else {
            return Err(ParseError::Value { what: "a digest's algorithm", found: bank.into() });
        };
        let digest = r.take((*len).into())?;
        let again = match bank {
            id::SHA1 => digests.sha1.replace(array(digest)?).is_some(),
            id::SHA256 => digests.sha256.replace(array(digest)?).is_some(),
            _ => false,
        };
        if again {
            return Err(ParseError::Value { what: "a second digest of an algorithm", found: bank.into() });
        }
    }
    Ok(digests)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ParseError> {
    bytes.try_into().map_err(|_| ParseError::Length { what: "a digest", found: bytes.len(), max: N })
}

/// `TCG_EfiSpecIDEvent`: the banks and the lengths of their digests.
fn header(data: &[u8]) -> Result<Vec<(u16, u16)>, ParseError> {
    let mut r = Reader::new(data, "the log's header");
    r.take(AGILE.len() + 8)?;
    let count = le32(&mut r)?;
    if count == 0 || count > BANKS_MAX {
        return Err(ParseError::Value { what: "the number of banks", found: count.into() });
    }
    let mut banks: Vec<(u16, u16)> = vec![];
    for _ in 0..count {
        let (bank, len) = (le16(&mut r)?, le16(&mut r)?);
        let known = match bank {
            id::SHA1 => len == 20,
            id::SHA256 => len == 32,
            _ => len <= DIGEST_MAX,
        };
        if !known || banks.iter().any(|(b, _)| *b == bank) {
            return Err(ParseError::Value {
                what: "a bank's digest length, or a bank named twice",
                found: bank.into(),
            });
        }
        banks.push((bank, len));
    }
    let vendor = r.u8()?;
    r.take(vendor.into())?;
    r.end()?;
    Ok(banks)
}

fn le16(r: &mut Reader<'_>) -> Result<u16, ParseError> {
    r.array().map(u16::from_le_bytes)
}

fn le32(r: &mut Reader<'_>) -> Result<u32, ParseError> {
    r.array().map(u32::from_le_bytes)
}
