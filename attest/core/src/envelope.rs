//! How evidence travels: deterministic CBOR, signed by the node, archived as it came.

use std::fmt;

use eider_protocol::{Hash, Identity, NodeId, OfferId, PublicKey};
use serde::{Deserialize, Serialize};

/// Bytes of the largest envelope: a Bid carries it.
pub const ENVELOPE_MAX: usize = 256 << 10;
/// Endorsements in one envelope.
pub const ENDORSEMENTS_MAX: usize = 16;
const DOMAIN: &[u8] = b"eider/1 envelope\0";

/// What a worker has proven of its hardware.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Tier {
    /// Nothing.
    #[default]
    L0,
    /// Some TPM with the policy's registers vouches for the node's keys.
    L1,
    /// A TEE with the policy's measurement vouches for them.
    L2,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
        })
    }
}

/// Whose evidence.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// TPM 2.0 quote.
    Tpm2,
    /// AMD SEV-SNP report.
    SevSnp,
    /// Intel TDX quote.
    Tdx,
    /// AWS Nitro Enclaves attestation document.
    Nitro,
    /// Made by software: proves nothing, and works under development policies alone.
    Development,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Tpm2, Self::SevSnp, Self::Tdx, Self::Nitro, Self::Development];

    /// Its name, as in policies and archives.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tpm2 => "tpm2",
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
            Self::Nitro => "nitro",
            Self::Development => "development",
        }
    }

    /// What it proves at best.
    pub const fn tier(self) -> Tier {
        match self {
            Self::Tpm2 => Tier::L1,
            Self::SevSnp | Self::Tdx | Self::Nitro | Self::Development => Tier::L2,
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Evidence with everything that is needed to appraise it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Version of this form: 1.
    pub v: u8,
    /// Whose evidence.
    pub kind: EvidenceKind,
    /// The vendor's bytes, as they came.
    #[serde(with = "serde_bytes")]
    pub evidence: Vec<u8>,
    /// Event log, for kinds that have one.
    pub log: Option<serde_bytes::ByteBuf>,
    /// Certificates and collateral, as each kind's verifier says.
    pub endorsements: Vec<serde_bytes::ByteBuf>,
    /// The Offer that it was made for.
    pub offer: OfferId,
    /// That Offer's nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// X25519 key that a Dispatch is sealed to.
    #[serde(with = "serde_bytes")]
    pub sealing: [u8; 32],
}

/// Why bytes are no envelope.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Over [`ENVELOPE_MAX`].
    #[error("an envelope of {0} bytes; at most {ENVELOPE_MAX} are read")]
    TooLarge(usize),
    /// Not CBOR of an envelope.
    #[error("not an envelope: {0}")]
    Malformed(String),
    /// Another version.
    #[error("envelope version {0} is not known")]
    Version(u64),
    /// Another kind.
    #[error("evidence kind {0:?} is not known")]
    Kind(String),
    /// Not signed by its key.
    #[error("the envelope's signature is not right")]
    Signature,
    /// Signed by another node.
    #[error("the envelope is of {0}")]
    Signer(NodeId),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedEnvelope {
    key: PublicKey,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).expect("writing to memory cannot fail, and these types have a CBOR form");
    bytes
}

/// All of the bytes, and only in the form that this program would write.
pub(crate) fn decode<T: Serialize + for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, EnvelopeError> {
    let mut rest = bytes;
    let value: T = ciborium::from_reader(&mut rest).map_err(|e| EnvelopeError::Malformed(short(&e.to_string())))?;
    if !rest.is_empty() {
        return Err(EnvelopeError::Malformed(format!("{} bytes after it", rest.len())));
    }
    if encode(&value) != bytes {
        return Err(EnvelopeError::Malformed("not in deterministic form".into()));
    }
    Ok(value)
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

impl Envelope {
    /// The bytes that a Bid carries.
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        let body = encode(self);
        let signature = identity.sign(&[DOMAIN, &body].concat());
        encode(&SignedEnvelope { key: identity.public(), signature, body })
    }

    /// Parses a Bid's bytes and checks that `node` has signed them.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open(bytes: &[u8], node: NodeId) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_MAX {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let signed: SignedEnvelope = decode(bytes)?;
        if !signed.key.verifies(&[DOMAIN, &signed.body].concat(), &signed.signature) {
            return Err(EnvelopeError::Signature);
        }
        if signed.key.node_id() != node {
            return Err(EnvelopeError::Signer(signed.key.node_id()));
        }
        Self::parse(&signed.body)
    }

    /// What is signed. Version and kind are looked at first, since what follows depends on them.
    pub fn parse(body: &[u8]) -> Result<Self, EnvelopeError> {
        let value: ciborium::Value =
            ciborium::from_reader(body).map_err(|e| EnvelopeError::Malformed(short(&e.to_string())))?;
        let field = |name: &str| {
            let map = value.as_map()?;
            map.iter().find(|(k, _)| k.as_text() == Some(name)).map(|(_, v)| v)
        };
        match field("v").and_then(ciborium::Value::as_integer).and_then(|v| u64::try_from(v).ok()) {
            Some(1) => {}
            Some(v) => return Err(EnvelopeError::Version(v)),
            None => return Err(EnvelopeError::Malformed("it has no version".into())),
        }
        if let Some(kind) = field("kind").and_then(ciborium::Value::as_text)
            && !EvidenceKind::ALL.iter().any(|k| k.word() == kind)
        {
            return Err(EnvelopeError::Kind(short(kind)));
        }
        let envelope: Self = decode(body)?;
        if envelope.endorsements.len() > ENDORSEMENTS_MAX {
            return Err(EnvelopeError::Malformed(format!("more than {ENDORSEMENTS_MAX} endorsements")));
        }
        Ok(envelope)
    }

    /// Name of an envelope in archives: BLAKE3 of its bytes as they came.
    pub fn hash(bytes: &[u8]) -> Hash {
        blake3::hash(bytes).into()
    }
}
