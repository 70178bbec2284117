//! Archives of jobs: everything that shows who claimed and who proved what, to be judged again anywhere, without network
//! and without the store.
//!
//! An archive is a tar file of a fixed form: `manifest.json` (each other file's size and BLAKE3), `manifest.sig` (the
//! requester's key and signature of the manifest), `record.json` (the job's record with all that was signed in it),
//! `policy.toml` if there was one, and each envelope of evidence as `evidence/<BLAKE3>.cbor`.

mod alone;
mod check;
mod words;

pub use alone::Alone;

use std::collections::BTreeMap;
use std::io::Read;

use eider_attest::{Appraisal, AttestPolicy, Envelope, Expected, Tier, appraise};
use eider_protocol::{Bid, Hash, Identity, NodeId, Offer, PublicKey, Signed, Version};
use serde::{Deserialize, Serialize};

use crate::record::{Fate, JobRecord, PeerRecord};

/// Bytes of the largest archive that is read.
pub const ARCHIVE_MAX: u64 = 256 << 20;
/// Files in it.
const FILES_MAX: usize = 10_000;
const DOMAIN: &[u8] = b"eider/2 archive\0";

/// Why an archive is not whole.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Not this kind of tar, or changed where nothing is signed.
    #[error("this is no archive of a job: {0}")]
    Form(String),
    /// A file of it.
    #[error("the archive was changed: {0}")]
    Changed(String),
    /// What is signed by others.
    #[error("the record holds what was not signed so: {0}")]
    Record(String),
    /// It is another's.
    #[error("the archive is by {actual}, not by {expected}: anybody can make one of jobs that never were")]
    Requester {
        /// Whose it must be.
        expected: NodeId,
        /// Whose it is.
        actual: NodeId,
    },
    /// The policy.
    #[error("the policy of the job: {0}")]
    Policy(#[from] eider_attest::AttestPolicyError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    form: String,
    requester: NodeId,
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    blake3: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    key: PublicKey,
    #[serde(with = "hex::serde")]
    signature: Vec<u8>,
}

const FORM: &str = "eider/2 archive";

/// A job as it is archived.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The record.
    pub record: JobRecord,
    /// The policy that its workers had to satisfy.
    pub policy: Option<AttestPolicy>,
}

fn bad(why: impl Into<String>) -> AuditError {
    AuditError::Record(why.into())
}

/// An error unless it is so.
fn ensure(is: bool, why: impl FnOnce() -> String) -> Result<(), AuditError> {
    if is { Ok(()) } else { Err(bad(why())) }
}

fn form(e: impl std::fmt::Display) -> AuditError {
    AuditError::Form(e.to_string())
}

/// Files of an archive, in order: name and bytes.
type Files = Vec<(String, Vec<u8>)>;

/// A tar of these files, the same for the same files.
fn tar_of(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, AuditError> {
    let mut tar = tar::Builder::new(vec![]);
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, name, &bytes[..]).map_err(form)?;
    }
    tar.into_inner().map_err(form)
}

/// The files of a tar. Together they hold no more than it does: what is no plain file, such as one with holes, is refused
/// before it is read.
fn files_of(tar: &[u8]) -> Result<Files, AuditError> {
    let (mut files, mut left) = (vec![], tar.len() as u64);
    for entry in tar::Archive::new(tar).entries().map_err(form)?.raw(true) {
        let entry = entry.map_err(form)?;
        let name = entry.path().map_err(form)?.to_str().unwrap_or_default().to_string();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(form(format!("{name:?} is no plain file")));
        }
        if files.len() >= FILES_MAX {
            return Err(form("too many files"));
        }
        let mut content = vec![];
        entry.take(left + 1).read_to_end(&mut content).map_err(form)?;
        left = left.checked_sub(content.len() as u64).ok_or_else(|| form("its files are larger than itself"))?;
        files.push((name, content));
    }
    Ok(files)
}

/// The record, and all files that the manifest of its archive names: these, in this order, and no others.
fn contents(record: &[u8], policy: Option<&[u8]>) -> Result<(JobRecord, Files), AuditError> {
    let mut files = vec![("record.json".to_string(), record.to_vec())];
    files.extend(policy.map(|text| ("policy.toml".to_string(), text.to_vec())));
    let parsed: JobRecord = serde_json::from_slice(record).map_err(form)?;
    for peer in &parsed.peers {
        if let Some(envelope) = bid_of(parsed.version, peer)?.and_then(|(_, bid)| bid.evidence) {
            let name = format!("evidence/{}.cbor", hex::encode(Envelope::hash(&envelope).as_bytes()));
            if files.iter().all(|(n, _)| *n != name) {
                files.push((name, envelope.into_vec()));
            }
        }
    }
    Ok((parsed, files))
}

/// Makes the archive of a job out of the texts of its record and policy.
///
/// # Errors
/// [`AuditError`], if what is kept of the job does not hold.
pub fn export(identity: &Identity, record: &str, policy: Option<&str>) -> Result<Vec<u8>, AuditError> {
    let (_, mut files) = contents(record.as_bytes(), policy.map(str::as_bytes))?;
    let entry = |(name, bytes): &(String, Vec<u8>)| {
        (name.clone(), Entry { bytes: bytes.len() as u64, blake3: blake3::hash(bytes).into() })
    };
    let manifest =
        Manifest { form: FORM.into(), requester: identity.node_id(), files: files.iter().map(entry).collect() };
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(form)?;
    let signature = identity.sign(&[DOMAIN, &manifest].concat()).to_vec();
    let seal = serde_json::to_vec(&Seal { key: identity.public(), signature }).map_err(form)?;
    files.splice(0..0, [("manifest.json".to_string(), manifest), ("manifest.sig".to_string(), seal)]);
    tar_of(&files)
}

/// Reads an archive, and checks everything in it but verdicts on evidence: its form to the last byte, hashes, signatures of the
/// requester and of each worker, and each field of the record against what they signed.
///
/// # Errors
/// [`AuditError`], which names what is wrong.
pub fn open(bytes: &[u8]) -> Result<Archive, AuditError> {
    let files = files_of(bytes)?;
    let file = |name: &str| {
        files.iter().find(|(n, _)| n == name).map(|(_, b)| &b[..]).ok_or_else(|| form(format!("there is no {name}")))
    };
    let manifest_bytes = file("manifest.json")?;
    let manifest: Manifest = serde_json::from_slice(manifest_bytes).map_err(form)?;
    if manifest.form != FORM {
        return Err(form(format!("its form is {:?}, this program reads {FORM:?}", manifest.form)));
    }
    let seal: Seal = serde_json::from_slice(file("manifest.sig")?).map_err(form)?;
    let signature = seal.signature[..].try_into().map_err(|_| form("its signature has another length"))?;
    if seal.key.node_id() != manifest.requester || !seal.key.verifies(&[DOMAIN, manifest_bytes].concat(), &signature) {
        return Err(AuditError::Changed("the requester has not signed this manifest".into()));
    }
    let found: BTreeMap<_, _> = files
        .iter()
        .filter(|(n, _)| !n.starts_with("manifest."))
        .map(|(n, b)| (n.clone(), Entry { bytes: b.len() as u64, blake3: blake3::hash(b).into() }))
        .collect();
    if let Some(name) = found.keys().chain(manifest.files.keys()).find(|n| found.get(*n) != manifest.files.get(*n)) {
        return Err(AuditError::Changed(format!("{name} is not as the manifest says")));
    }
    let policy = file("policy.toml").ok();
    let (record, mut whole) = contents(file("record.json")?, policy)?;
    let policy = policy.map(AttestPolicy::parse).transpose()?;
    // Each file once and no other; what is between and behind them is fixed too, and so is the form of the two that nobody signs.
    let seal = serde_json::to_vec(&seal).map_err(form)?;
    whole.splice(0..0, [("manifest.json".to_string(), manifest_bytes.to_vec()), ("manifest.sig".to_string(), seal)]);
    if tar_of(&whole)? != bytes {
        return Err(AuditError::Changed("it is not in the one form that an archive has".into()));
    }
    let archive = Archive { record, policy };
    archive.check(manifest.requester)?;
    Ok(archive)
}

fn unhex(text: &str) -> Result<Vec<u8>, AuditError> {
    hex::decode(text).map_err(|e| AuditError::Record(e.to_string()))
}

fn bytes32(text: &str) -> Result<[u8; 32], AuditError> {
    unhex(text)?.try_into().map_err(|_| AuditError::Record("a seed or salt has another length than 32 bytes".into()))
}

fn bid_of(version: Version, peer: &PeerRecord) -> Result<Option<(NodeId, Bid)>, AuditError> {
    let (Some(node), Some(bid)) = (peer.node, &peer.signed_bid) else { return Ok(None) };
    let bid = Signed::<Bid>::open(&unhex(bid)?, version, node)
        .map_err(|e| AuditError::Record(format!("the bid of {node}: {e}")))?;
    Ok(Some((node, bid.message().clone())))
}

/// How a worker's evidence stands.
#[derive(Serialize, Clone, Debug)]
pub struct Stand {
    /// Who.
    pub node: NodeId,
    /// What became of it.
    pub fate: Fate,
    /// What its evidence claims.
    pub claimed: Tier,
    /// As the requester recorded it.
    pub recorded: Appraisal,
    /// As it comes out again, as of then.
    pub then: Appraisal,
    /// As of the time of the audit.
    pub today: Appraisal,
}

impl Archive {
    /// Whether it is this node's. Anybody can make an archive of jobs that never were, under a key of its own.
    ///
    /// # Errors
    /// [`AuditError::Requester`].
    pub fn by(&self, node: NodeId) -> Result<(), AuditError> {
        let actual = self.record.requester;
        if actual == node { Ok(()) } else { Err(AuditError::Requester { expected: node, actual }) }
    }

    fn offer(&self) -> Result<Offer, AuditError> {
        let offer = Signed::<Offer>::open(&unhex(&self.record.offer)?, self.record.version, self.record.requester)
            .map_err(|e| bad(format!("the Offer: {e}")))?;
        if offer.content_hash().as_bytes() != self.record.job.as_bytes() {
            return Err(bad("the Offer is of another job"));
        }
        Ok(offer.message().clone())
    }

    /// Appraises each worker's evidence again: as of then, and as of `now`, under the job's policy.
    ///
    /// # Errors
    /// [`AuditError::Record`].
    pub fn stands(&self, now: i64) -> Result<Vec<Stand>, AuditError> {
        let Some(policy) = &self.policy else { return Ok(vec![]) };
        let offer = self.offer()?;
        let mut stands = vec![];
        for peer in &self.record.peers {
            let (Some(recorded), Some((node, bid))) = (peer.appraisal.clone(), bid_of(self.record.version, peer)?)
            else {
                continue;
            };
            let then = self.judge(peer, node, &bid, &offer, recorded.at, policy);
            let today = self.judge(peer, node, &bid, &offer, now, policy);
            stands.push(Stand { node, fate: peer.fate.clone(), claimed: then.claimed, recorded, then, today });
        }
        Ok(stands)
    }

    /// What each worker's evidence comes to under another policy, as of then: node, before, after.
    ///
    /// # Errors
    /// [`AuditError::Record`].
    pub fn under(&self, policy: &AttestPolicy) -> Result<Vec<(NodeId, Option<Appraisal>, Appraisal)>, AuditError> {
        let offer = self.offer()?;
        let mut found = vec![];
        for peer in &self.record.peers {
            let Some((node, bid)) = bid_of(self.record.version, peer)? else { continue };
            if bid.answer.is_ok() {
                let at = peer.appraisal.as_ref().map_or(self.record.at, |a| a.at);
                found.push((node, peer.appraisal.clone(), self.judge(peer, node, &bid, &offer, at, policy)));
            }
        }
        Ok(found)
    }

    fn judge(
        &self,
        peer: &PeerRecord,
        node: NodeId,
        bid: &Bid,
        offer: &Offer,
        now: i64,
        policy: &AttestPolicy,
    ) -> Appraisal {
        let known = peer.known.clone().unwrap_or_default();
        let issued = eider_attest::Issued { offer: self.record.job, nonce: offer.nonce, at: self.record.at };
        let expected = Expected {
            requester: offer.requester,
            node,
            sealing: bid.sealing,
            engine: offer.engine,
            demanded: offer.attest.as_ref().map_or_else(|| policy.hash(), |d| d.policy),
            offer: issued,
            earlier: &known.issued,
            seen: &known.seen,
            activated: &known.activated,
        };
        appraise(bid.evidence.as_ref().map(|e| &e[..]), &expected, now, policy)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The most memory that this process has ever had, bytes.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    #[test]
    fn a_hole_in_an_archive_costs_no_memory() {
        // A header, no byte of data, and the end: 1.5 KiB that say that half a gigabyte of zeros is in them. A test's
        // machine could not bear what twelve octal digits can say.
        const HOLE: u64 = 2 * ARCHIVE_MAX;
        let mut header = tar::Header::new_gnu();
        header.set_path("record.json").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::GNUSparse);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.sparse[0].set_offset(HOLE);
        gnu.sparse[0].set_length(0);
        gnu.set_real_size(HOLE);
        header.set_cksum();
        let mut archive = header.as_bytes().to_vec();
        archive.resize(3 * 512, 0);

        let before = peak();
        assert!(matches!(open(&archive), Err(AuditError::Form(why)) if why.contains("no plain file")));
        let more = peak() - before;
        assert!(more < ARCHIVE_MAX, "{} bytes of archive cost {more} bytes of memory", archive.len());
    }

    #[test]
    fn the_files_of_a_tar_are_read_as_they_were_written() {
        let files = vec![("record.json".to_string(), vec![7; 1000]), ("evidence/none.cbor".to_string(), vec![])];
        let tar = tar_of(&files).unwrap();
        assert_eq!(files_of(&tar).unwrap(), files);
        assert!(files_of(&tar[..1024]).is_err());
    }

    #[test]
    fn a_file_that_stands_twice_or_that_nobody_signed_is_refused() {
        let golden = include_bytes!("../tests/golden/archive.tar");
        let genuine = files_of(golden).unwrap();
        assert_eq!(tar_of(&genuine).unwrap(), golden);
        let record = genuine.iter().find(|(name, _)| name == "record.json").unwrap();
        let other = String::from_utf8(record.1.clone()).unwrap().replacen("10.0.0.1:", "10.0.9.1:", 1).into_bytes();
        assert_ne!(other, record.1);
        for (name, bytes) in [("record.json", other), ("manifest.more", vec![1]), ("policy.toml", vec![])] {
            for at in 0..=genuine.len() {
                let mut files = genuine.clone();
                files.insert(at, (name.to_string(), bytes.clone()));
                assert!(open(&tar_of(&files).unwrap()).is_err(), "{name} at {at}");
            }
        }
        for (a, b) in [(0, 1), (1, 2)] {
            let mut files = genuine.clone();
            files.swap(a, b);
            assert!(open(&tar_of(&files).unwrap()).is_err(), "{a} and {b} change places");
        }
        assert!(open(golden).is_ok());
    }
}
