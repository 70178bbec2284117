//! Byte newtypes for everything that is identified by a BLAKE3 hash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not an id.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("expected `{prefix}` and 64 hexadecimal digits, got {text:?}")]
pub struct ParseIdError {
    prefix: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// Its 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// Prefix and the first 10 digits: for people, never for comparison.
            pub fn short(&self) -> String {
                format!("{}{}", $prefix, hex::encode(&self.0[..5]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let err = || ParseIdError { prefix: $prefix, text: text.chars().take(80).collect() };
                let digits = text.strip_prefix($prefix).ok_or_else(err)?;
                let mut bytes = [0; 32];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| err())?;
                Ok(Self(bytes))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0) }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
                } else {
                    serde_bytes::ByteArray::<32>::deserialize(d).map(|b| Self(b.into_array()))
                }
            }
        }
    };
}

id!(
    /// A node: BLAKE3 of its Ed25519 public key, written `b3:` and hex ([P-ID-1]).
    NodeId,
    "b3:"
);
id!(
    /// A job: BLAKE3 of its Offer's signed bytes ([P-ID-2]).
    OfferId,
    "job:"
);
id!(
    /// BLAKE3 of content: an engine, an input, a query, a result's root.
    Hash,
    ""
);

impl From<blake3::Hash> for Hash {
    fn from(h: blake3::Hash) -> Self {
        Self(*h.as_bytes())
    }
}
impl From<Hash> for blake3::Hash {
    fn from(h: Hash) -> Self {
        Self::from_bytes(h.0)
    }
}
