//! DSSE envelopes (github.com/secure-systems-lab/dsse, version 1): bytes of a type, and who has signed both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::{Signer, Verifier};

/// Most signatures of an envelope.
const SIGNATURES_MAX: usize = 16;

/// Bytes in base64, whichever alphabet and padding they came in is not ours to choose: the standard one alone is read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(&*text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    keyid: String,
    sig: Base64,
}

/// An envelope. That it parses says nothing of who signed it: [`Envelope::signed_by`] does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Envelope {
    payload: Base64,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

/// What is signed: the pre-authentication encoding.
fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

/// How an envelope calls a key. It tells keys apart, and nobody is believed for it.
fn keyid(key: &Verifier) -> String {
    format!("{}+{}", key.name(), hex::encode(key.id()))
}

impl Envelope {
    /// Bytes of this type, signed.
    pub fn sign(kind: &str, payload: Vec<u8>, signer: &Signer) -> Self {
        let sig = Base64(signer.sign(&pae(kind, &payload)).to_vec());
        let signatures = vec![EnvelopeSignature { keyid: keyid(signer.verifier()), sig }];
        Self { payload: Base64(payload), payload_type: kind.to_string(), signatures }
    }

    /// The bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload.0
    }

    /// Their type.
    pub fn kind(&self) -> &str {
        &self.payload_type
    }

    /// Whether this key has signed bytes and type. One signature that says it is the key's and is not makes it no, and so do more
    /// signatures than anybody looks at.
    pub fn signed_by(&self, key: &Verifier) -> bool {
        let (message, id) = (pae(&self.payload_type, &self.payload.0), keyid(key));
        if self.signatures.len() > SIGNATURES_MAX {
            return false;
        }
        let mut its = self.signatures.iter().filter(|s| s.keyid == id).peekable();
        let verifies =
            |s: &EnvelopeSignature| s.sig.0[..].try_into().is_ok_and(|sig| key.key().verifies(&message, &sig));
        its.peek().is_some() && its.all(verifies)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::Role;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn each_changed_byte_of_an_envelope_is_found() {
        let signer = Signer::new("someone", Role::Publisher, [3; 32]).unwrap();
        let envelope = Envelope::sign("text/plain", b"hello".to_vec(), &signer);
        assert!(envelope.signed_by(signer.verifier()));
        let other = Signer::new("someone", Role::Publisher, [4; 32]).unwrap();
        assert!(!envelope.signed_by(other.verifier()));
        let json = serde_json::to_vec(&envelope).unwrap();
        assert_eq!(serde_json::from_slice::<Envelope>(&json).unwrap(), envelope);
        for n in 0..json.len() {
            for bit in 0..8 {
                let mut bytes = json.clone();
                bytes[n] ^= 1 << bit;
                let read = serde_json::from_slice::<Envelope>(&bytes);
                assert!(!read.is_ok_and(|e| e.signed_by(signer.verifier())), "byte {n}, bit {bit}");
            }
        }
    }
}
