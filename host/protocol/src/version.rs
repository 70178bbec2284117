//! Versions of the protocol: a value that a connection has, and that signing and opening take ([P-VER-1]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version, as both ends of a connection agreed on it by ALPN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Version {
    /// `eider/2`, in which nothing but the task was sealed: it is spoken no more, and what was signed for it can still be checked.
    V2,
    /// `eider/3`.
    V3,
}

/// Text that is no version which this program knows.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{0:?} is no version of the protocol that this program knows")]
pub struct UnknownVersion(String);

impl Version {
    /// What this program speaks, the newest first: the order in which versions are offered.
    pub const ALL: &[Self] = &[Self::V3];
    /// What archives may have been signed for.
    pub const KNOWN: &[Self] = &[Self::V3, Self::V2];
    /// The newest.
    pub const LATEST: Self = Self::V3;

    /// The ALPN of the job plane, and the first word of every signing domain.
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::V2 => "eider/2",
            Self::V3 => "eider/3",
        }
    }

    /// The version that ALPN negotiated.
    pub fn of_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|v| v.alpn().as_bytes() == alpn)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alpn())
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let named = Self::KNOWN.iter().copied().find(|v| v.alpn() == text);
        named.ok_or_else(|| UnknownVersion(text.chars().take(40).collect()))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
