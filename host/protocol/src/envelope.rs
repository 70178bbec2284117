//! Signed messages: the signature is over the transmitted bytes, never over a re-encoding ([P-SIGN-1]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{Body, DecodeError, Hash, Identity, Kind, NodeId, PublicKey, Version};

/// What a later version may add to a message, and an earlier one may pass over: signed like the rest ([P-VER-3]).
pub type Extensions = BTreeMap<String, ByteBuf>;

/// Extensions of one message at most, and bytes of all of them together.
const EXTENSIONS_MAX: (usize, usize) = (16, 1 << 10);

/// As transmitted: CBOR of key, signature, body bytes, and the CBOR of its extensions if there are any.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Unverified {
    key: PublicKey,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    #[serde(with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    ext: Vec<u8>,
}

/// A message whose signature was made here or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    envelope: Unverified,
    extensions: Extensions,
    message: T,
}

/// The body's length (four bytes, big endian), the body, the extensions: what is signed and hashed, less the domain.
fn content(body: &[u8], ext: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length, body, ext].concat()
}

/// `eider/3 <kind>\0` and the content: what is signed ([P-SIGN-2]).
fn signing_input(version: Version, kind: Kind, body: &[u8], ext: &[u8]) -> Vec<u8> {
    [format!("{version} {kind}\0").as_bytes(), &content(body, ext)].concat()
}

fn extensions_of(kind: Kind, ext: &[u8]) -> Result<Extensions, DecodeError> {
    if ext.is_empty() {
        return Ok(Extensions::new());
    }
    let (count, bytes) = EXTENSIONS_MAX;
    if ext.len() > bytes {
        return Err(DecodeError::Malformed(kind, format!("{} bytes of extensions", ext.len())));
    }
    let map: Extensions = crate::message::decode(kind, ext)?;
    if map.is_empty() || map.len() > count {
        return Err(DecodeError::Malformed(kind, format!("{} extensions", map.len())));
    }
    Ok(map)
}

impl<T: Body> Signed<T> {
    /// Encodes and signs, for a connection of this version.
    pub fn sign(identity: &Identity, version: Version, message: T) -> Self {
        Self::sign_with(identity, version, message, Extensions::new())
    }

    /// The same with extensions, which are to fit in 1 KiB.
    pub fn sign_with(identity: &Identity, version: Version, message: T, extensions: Extensions) -> Self {
        let body = crate::message::encode(&message);
        let ext = if extensions.is_empty() { vec![] } else { crate::message::encode(&extensions) };
        let signature = identity.sign(&signing_input(version, T::KIND, &body, &ext));
        Self { envelope: Unverified { key: identity.public(), signature, body, ext }, extensions, message }
    }

    /// Parses a frame's payload and checks signature and signer.
    ///
    /// # Errors
    /// [`DecodeError`]: malformed, incompatible, a bad signature or the wrong signer.
    pub fn open(payload: &[u8], version: Version, expected: NodeId) -> Result<Self, DecodeError> {
        let envelope: Unverified = crate::message::decode(T::KIND, payload)?;
        let input = signing_input(version, T::KIND, &envelope.body, &envelope.ext);
        if !envelope.key.verifies(&input, &envelope.signature) {
            return Err(DecodeError::BadSignature(T::KIND));
        }
        let actual = envelope.key.node_id();
        if actual != expected {
            return Err(DecodeError::WrongSigner { kind: T::KIND, expected, actual });
        }
        let extensions = extensions_of(T::KIND, &envelope.ext)?;
        let message = crate::message::decode(T::KIND, &envelope.body)?;
        Ok(Self { envelope, extensions, message })
    }

    /// A message out of the body that a signature would be over; for fuzzing what lies behind one.
    #[doc(hidden)]
    pub fn parse_body(body: &[u8]) -> Option<T> {
        crate::message::decode(T::KIND, body).ok()
    }

    /// The frame's payload.
    pub fn to_payload(&self) -> Vec<u8> {
        crate::message::encode(&self.envelope)
    }

    /// The message.
    pub fn message(&self) -> &T {
        &self.message
    }

    /// What a later version has added.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Who signed.
    pub fn signer(&self) -> NodeId {
        self.envelope.key.node_id()
    }

    /// BLAKE3 of all that is signed but the domain; of an Offer, this is the job's id ([P-ID-2]).
    pub fn content_hash(&self) -> Hash {
        blake3::hash(&content(&self.envelope.body, &self.envelope.ext)).into()
    }
}
