//! What register 7 shows of Secure Boot: that it was on, and whose signatures let through what was started (TCG PC Client Platform
//! Firmware Profile, sections 3.3.4.8 and 10.4; UEFI Specification, chapter 32).
//!
//! Until its separator the register is extended by firmware alone: with the variables of Secure Boot, each once, and with who has
//! signed the drivers that it loaded. After it anybody who runs can extend it: firmware and shim do, with who has signed the
//! boot loader and the kernel, and so can root. A register holds digests, so that bytes of an event count only if they have that
//! digest; no digest covers what *kind* of event the log calls it, so that no kind is believed where it would help a liar:
//!
//! - Before the separator each event must be a variable, with its bytes. Whoever has booted without Secure Boot cannot hide
//!   that firmware measured so, and what is extended later comes too late.
//! - A variable is measured once there, `db` among them. A signer of a driver has the name `db` too, and cannot pass for it.
//! - All after the separator counts as a signer, whatever it is. shim's settings (`MokSBState`, which says that it checks
//!   nothing) and its list of what is revoked (`SbatLevel`) are there too.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::eventlog::Event;
use super::parse::Reader;
use crate::{Accept, Code, Findings, Status};

/// `EV_EFI_VARIABLE_AUTHORITY`: a signer.
const AUTHORITY: u32 = 0x8000_00e0;
/// What ends firmware's measurements; another value says that it failed.
const SEPARATOR: [u8; 4] = [0; 4];
/// `EFI_GLOBAL_VARIABLE`, 8be4df61-93ca-11d2-aa0d-00e098032b8c.
const GLOBAL: [u8; 16] = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, d719b2cb-3d3a-4596-a3bc-dad00e67656f.
const DATABASES: [u8; 16] =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
/// Bytes of the owner before a certificate in `db` (`EFI_SIGNATURE_DATA`).
const OWNER: usize = 16;
/// Characters of a variable's name.
const NAME_MAX: u64 = 64;
/// Signers of one boot. There are one to five.
const SIGNERS_MAX: usize = 32;

/// What register 7 shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecureBoot {
    /// Whether it was on.
    pub is_on: bool,
    /// Who has signed what was started, each once, in the order in which they were first needed.
    pub signers: Vec<Signer>,
    /// The first event after the separator that shows nothing, because its bytes are not what was measured, or no variable.
    pub unread: Option<usize>,
}

/// Who has signed what was started, or what else was measured in such a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// Where it is listed: `db`, or one of shim's variables.
    pub variable: String,
    /// SHA-256 of the certificate (DER), or of what stands in its place.
    pub sha256: [u8; 32],
}

/// Why a log does not say whether Secure Boot was on.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum SecureBootError {
    /// Changed, or of firmware that logs other bytes than it measures.
    #[error("event {0}: register 7 was extended with another digest than that of the event's bytes")]
    OtherBytes(usize),
    /// As when firmware is being debugged, or devices can write to memory: `UEFI Debug Mode`, `DMA Protection Disabled`.
    #[error("event {event}: {said}, where firmware measures Secure Boot's variables")]
    NoVariable {
        /// Counted from 0 in the whole log.
        event: usize,
        /// Its bytes, if they are short text.
        said: String,
    },
    /// Firmware measures each once.
    #[error("event {event}: {name} is measured a second time")]
    Twice {
        /// Counted from 0 in the whole log.
        event: usize,
        /// Which variable.
        name: String,
    },
    /// As when firmware is older than Secure Boot, or starts a BIOS.
    #[error("firmware has not measured the variable {0}")]
    Missing(&'static str),
    /// It ends too early.
    #[error("register 7 has no separator")]
    NoSeparator,
    /// Over the limit.
    #[error("more than {SIGNERS_MAX} signers")]
    TooMany,
}

/// `UEFI_VARIABLE_DATA`.
struct Variable<'a> {
    vendor: [u8; 16],
    name: String,
    value: &'a [u8],
}

/// Reads the events of register 7 that lead to its value: [`Replay::secure_boot`](super::eventlog::Replay::secure_boot).
///
/// # Errors
/// [`SecureBootError`].
pub fn read(events: &[Event]) -> Result<SecureBoot, SecureBootError> {
    let mut measured = BTreeSet::new();
    let (mut is_on, mut signers, mut unread) = (None, vec![], None);
    let mut events = events.iter();
    loop {
        let event = events.next().ok_or(SecureBootError::NoSeparator)?;
        if !has_its_digest(event) {
            return Err(SecureBootError::OtherBytes(event.number));
        }
        if event.data == SEPARATOR {
            break;
        }
        let Some(variable) = variable(&event.data) else {
            return Err(SecureBootError::NoVariable { event: event.number, said: text(&event.data) });
        };
        let is_setting = variable.vendor == GLOBAL && variable.name == "SecureBoot";
        if event.kind == AUTHORITY && !is_setting {
            add(&mut signers, &variable)?;
        } else if !measured.insert((variable.vendor, variable.name.clone())) {
            return Err(SecureBootError::Twice { event: event.number, name: variable.name });
        } else if is_setting {
            is_on = Some(variable.value == [1]);
        }
    }
    let is_on = is_on.ok_or(SecureBootError::Missing("SecureBoot"))?;
    if !measured.contains(&(DATABASES, "db".to_string())) {
        return Err(SecureBootError::Missing("db"));
    }
    for event in events {
        match variable(&event.data).filter(|_| has_its_digest(event)) {
            Some(variable) => add(&mut signers, &variable)?,
            None => unread = unread.or(Some(event.number)),
        }
    }
    Ok(SecureBoot { is_on, signers, unread })
}

fn has_its_digest(event: &Event) -> bool {
    Sha256::digest(&event.data)[..] == event.sha256
}

fn variable(data: &[u8]) -> Option<Variable<'_>> {
    let mut r = Reader::new(data, "UEFI_VARIABLE_DATA");
    let vendor = r.array().ok()?;
    let [name, value] = [r.array().ok()?, r.array().ok()?].map(u64::from_le_bytes);
    let name = r.take(usize::try_from(name).ok().filter(|_| (1..=NAME_MAX).contains(&name))? * 2).ok()?;
    let name: Option<String> =
        name.chunks_exact(2).map(|c| (c[1] == 0 && c[0].is_ascii_graphic()).then_some(char::from(c[0]))).collect();
    let value = r.take(usize::try_from(value).ok()?).ok()?;
    r.end().ok()?;
    Some(Variable { vendor, name: name?, value })
}

fn add(signers: &mut Vec<Signer>, variable: &Variable<'_>) -> Result<(), SecureBootError> {
    // Firmware measures a certificate with its owner before it, shim without.
    let has_owner = variable.vendor == DATABASES && variable.name == "db" && !variable.value.starts_with(&[0x30]);
    let certificate = if has_owner { variable.value.get(OWNER..) } else { None }.unwrap_or(variable.value);
    let signer = Signer { variable: variable.name.clone(), sha256: Sha256::digest(certificate).into() };
    if !signers.contains(&signer) {
        signers.push(signer);
    }
    if signers.len() > SIGNERS_MAX { Err(SecureBootError::TooMany) } else { Ok(()) }
}

/// What a short event says, for people.
fn text(data: &[u8]) -> String {
    let is_text = data.len() <= 64 && data.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    if is_text { format!("{:?}", String::from_utf8_lossy(data)) } else { format!("{} bytes", data.len()) }
}

/// Holds what register 7 shows against the policy.
pub(super) fn judge(accept: &Accept, events: &[Event], findings: &mut Findings) {
    let before = findings.reasons.len();
    match read(events) {
        Err(error @ SecureBootError::OtherBytes(_)) => findings.reason(Code::LogMismatch, error.to_string()),
        Err(error) => findings.reason(Code::SecureBootUnproven, error.to_string()),
        Ok(found) => {
            findings.claim("secure-boot", if found.is_on { "on" } else { "off" });
            let signers: Vec<_> =
                found.signers.iter().map(|s| format!("{}={}", s.variable, hex::encode(s.sha256))).collect();
            findings.claim("signers", signers.join(" "));
            if !found.is_on {
                findings.reason(Code::SecureBootUnproven, "Secure Boot was off");
            } else if let Some(known) = &accept.signers {
                let unknown = found.signers.iter().filter(|s| !known.iter().any(|k| k.value == s.sha256));
                for signer in unknown {
                    let sha256 = hex::encode(signer.sha256);
                    findings
                        .reason(Code::SignerUnknown, format!("{} {sha256} is not among `signers`", signer.variable));
                }
                if let Some(event) = found.unread {
                    findings
                        .reason(Code::SignerUnknown, format!("event {event} shows no signer, and was measured as one"));
                } else if found.signers.is_empty() {
                    findings.reason(Code::SignerUnknown, "nothing shows who has signed what was started");
                }
            }
        }
    }
    let affirmed = findings.reasons.len() == before;
    findings.vector.configuration = if affirmed { Status::Affirming } else { Status::Warning };
}
