//! Signed messages: the signature is over the transmitted bytes, never over a re-encoding ([P-SIGN-1]).

use serde::{Deserialize, Serialize};

use crate::{ALPN, Body, DecodeError, Hash, Identity, Kind, NodeId, PublicKey};

/// As transmitted: CBOR of key, signature and body bytes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Unverified {
    key: PublicKey,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

/// A message whose signature was made here or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    envelope: Unverified,
    message: T,
}

/// `eider/1 <kind>\0` and the body: what is signed ([P-SIGN-2]).
fn signing_input(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut input = format!("{ALPN} {kind}\0").into_bytes();
    input.extend_from_slice(body);
    input
}

impl<T: Body> Signed<T> {
    /// Encodes and signs.
    pub fn sign(identity: &Identity, message: T) -> Self {
        let body = crate::message::encode(&message);
        let signature = identity.sign(&signing_input(T::KIND, &body));
        Self { envelope: Unverified { key: identity.public(), signature, body }, message }
    }

    /// Parses a frame's payload and checks signature and signer.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`], [`DecodeError::BadSignature`] or [`DecodeError::WrongSigner`].
    pub fn open(payload: &[u8], expected: NodeId) -> Result<Self, DecodeError> {
        let envelope: Unverified = crate::message::decode(T::KIND, payload)?;
        if !envelope.key.verifies(&signing_input(T::KIND, &envelope.body), &envelope.signature) {
            return Err(DecodeError::BadSignature(T::KIND));
        }
        let actual = envelope.key.node_id();
        if actual != expected {
            return Err(DecodeError::WrongSigner { kind: T::KIND, expected, actual });
        }
        let message = crate::message::decode(T::KIND, &envelope.body)?;
        Ok(Self { envelope, message })
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

    /// Who signed.
    pub fn signer(&self) -> NodeId {
        self.envelope.key.node_id()
    }

    /// BLAKE3 of the signed bytes; of an Offer, this is the job's id.
    pub fn body_hash(&self) -> Hash {
        blake3::hash(&self.envelope.body).into()
    }
}
