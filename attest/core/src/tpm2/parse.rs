//! Reading TPM structures (TPM 2.0 Library, part 2). Nothing is allocated by a length that the bytes merely claim, and
//! bytes that are left over are refused.

use sha2::{Digest, Sha256};

pub use super::reader::{ParseError, Reader};

/// Identifiers of algorithms and constants, TPM 2.0 Library part 2, section 6.
pub mod id {
    /// `TPM_ALG_RSA`.
    pub const RSA: u16 = 0x0001;
    /// `TPM_ALG_SHA1`.
    pub const SHA1: u16 = 0x0004;
    /// `TPM_ALG_AES`.
    pub const AES: u16 = 0x0006;
    /// `TPM_ALG_SHA256`.
    pub const SHA256: u16 = 0x000b;
    /// `TPM_ALG_NULL`.
    pub const NULL: u16 = 0x0010;
    /// `TPM_ALG_RSASSA`.
    pub const RSASSA: u16 = 0x0014;
    /// `TPM_ALG_RSAES`.
    pub const RSAES: u16 = 0x0015;
    /// `TPM_ALG_RSAPSS`.
    pub const RSAPSS: u16 = 0x0016;
    /// `TPM_ALG_OAEP`.
    pub const OAEP: u16 = 0x0017;
    /// `TPM_ALG_ECDSA`.
    pub const ECDSA: u16 = 0x0018;
    /// `TPM_ALG_ECDAA`.
    pub const ECDAA: u16 = 0x001a;
    /// `TPM_ALG_ECC`.
    pub const ECC: u16 = 0x0023;
    /// `TPM_ALG_CFB`.
    pub const CFB: u16 = 0x0043;
    /// `TPM_ECC_NIST_P256`.
    pub const P256: u16 = 0x0003;
    /// `TPM_GENERATED_VALUE`: what a TPM signs of itself begins with it, and a restricted key signs nothing else that does.
    pub const GENERATED: u32 = 0xff54_4347;
    /// `TPM_ST_ATTEST_QUOTE`.
    pub const QUOTE: u16 = 0x8018;
}

/// Object attributes, TPM 2.0 Library part 2, section 8.3.
pub mod attribute {
    /// The key cannot leave its TPM.
    pub const FIXED_TPM: u32 = 1 << 1;
    /// Nor its parent.
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// The TPM has made the key.
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    /// Usable with a password or HMAC.
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    /// Its administration wants its policy.
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    /// Not subject to lockout.
    pub const NO_DA: u32 = 1 << 10;
    /// It signs only what the TPM has made or hashed, and decrypts only what the TPM understands.
    pub const RESTRICTED: u32 = 1 << 16;
    /// It decrypts.
    pub const DECRYPT: u32 = 1 << 17;
    /// It signs.
    pub const SIGN: u32 = 1 << 18;
}

/// The largest RSA modulus that is read, bytes.
const MODULUS_MAX: usize = 512;
/// A P-256 coordinate, bytes.
const COORDINATE: usize = 32;
/// The largest digest or name in these structures: SHA-512 and an algorithm, bytes.
const NAME_MAX: usize = 66;
/// Selections in one quote; a TPM has at most 16 banks.
const SELECTIONS_MAX: u32 = 16;

/// A key's numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// RSA.
    Rsa {
        /// Big endian, without leading zeros.
        modulus: Vec<u8>,
        /// Mostly 65537.
        exponent: u32,
    },
    /// NIST P-256.
    P256 {
        /// Big endian.
        x: [u8; 32],
        /// Big endian.
        y: [u8; 32],
    },
}

/// `TPMT_PUBLIC` of an RSA or P-256 key with SHA-256 as its name algorithm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Public {
    /// See [`attribute`].
    pub attributes: u32,
    /// Digest of the policy that guards it, or empty.
    pub policy: Vec<u8>,
    /// The scheme that the key is tied to, and its hash; `None` if it is not tied to one.
    pub scheme: Option<(u16, u16)>,
    /// Its numbers.
    pub key: Key,
    /// The algorithm 000b and SHA-256 of the structure: how a TPM names the key.
    pub name: [u8; 34],
}

impl Public {
    /// Reads all of `bytes`, without a length before them.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(bytes, "TPMT_PUBLIC");
        let kind = r.u16()?;
        let name_hash = r.u16()?;
        if name_hash != id::SHA256 {
            return Err(ParseError::Value { what: "the name algorithm", found: name_hash.into() });
        }
        let attributes = r.u32()?;
        let policy = r.sized("the policy digest", NAME_MAX)?.to_vec();
        let symmetric = r.u16()?;
        if symmetric != id::NULL {
            r.u32()?;
        }
        let scheme = match r.u16()? {
            id::NULL => None,
            scheme @ id::RSAES => Some((scheme, id::NULL)),
            scheme @ id::ECDAA => {
                let hash = r.u16()?;
                r.u16()?;
                Some((scheme, hash))
            }
            scheme @ 0x0014..=0x001d => Some((scheme, r.u16()?)),
            found => return Err(ParseError::Value { what: "the scheme", found: found.into() }),
        };
        let key = match kind {
            id::RSA => rsa(&mut r)?,
            id::ECC => p256(&mut r)?,
            found => return Err(ParseError::Value { what: "the type of key", found: found.into() }),
        };
        r.end()?;
        let mut name = [0; 34];
        let (algorithm, digest) = name.split_at_mut(2);
        algorithm.copy_from_slice(&id::SHA256.to_be_bytes());
        digest.copy_from_slice(&Sha256::digest(bytes));
        Ok(Self { attributes, policy, scheme, key, name })
    }
}

fn rsa(r: &mut Reader<'_>) -> Result<Key, ParseError> {
    let bits = r.u16()?;
    let exponent = match r.u32()? {
        0 | 65537 => 65537,
        found => return Err(ParseError::Value { what: "the RSA exponent", found: found.into() }),
    };
    let modulus = r.sized("the RSA modulus", MODULUS_MAX)?;
    let plain = modulus.len() >= 128 && modulus.first().is_some_and(|b| b & 0x80 != 0);
    if usize::from(bits) != modulus.len() * 8 || !plain {
        return Err(ParseError::Value { what: "the RSA key's size in bits", found: bits.into() });
    }
    Ok(Key::Rsa { modulus: modulus.to_vec(), exponent })
}

fn p256(r: &mut Reader<'_>) -> Result<Key, ParseError> {
    let curve = r.u16()?;
    if curve != id::P256 {
        return Err(ParseError::Value { what: "the curve", found: curve.into() });
    }
    if r.u16()? != id::NULL {
        r.u16()?;
    }
    Ok(Key::P256 { x: coordinate(r)?, y: coordinate(r)? })
}

/// A number of at most 32 bytes; some TPMs leave leading zeros out.
fn coordinate(r: &mut Reader<'_>) -> Result<[u8; COORDINATE], ParseError> {
    let bytes = r.sized("a P-256 number", COORDINATE)?;
    let mut number = [0; COORDINATE];
    if let Some(low) = number.get_mut(COORDINATE - bytes.len()..) {
        low.copy_from_slice(bytes);
    }
    Ok(number)
}

/// `TPMT_SIGNATURE` with SHA-256.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    /// RSA, PKCS #1 v1.5.
    RsaSsa(Vec<u8>),
    /// RSA-PSS; only with a salt as long as the hash, which older TPMs do not make.
    RsaPss(Vec<u8>),
    /// ECDSA: r and s, each 32 bytes, big endian.
    Ecdsa([u8; 64]),
}

impl Signature {
    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(bytes, "TPMT_SIGNATURE");
        let scheme = r.u16()?;
        if !matches!(scheme, id::RSASSA | id::RSAPSS | id::ECDSA) {
            return Err(ParseError::Value { what: "the signature's scheme", found: scheme.into() });
        }
        let hash = r.u16()?;
        if hash != id::SHA256 {
            return Err(ParseError::Value { what: "the signature's hash", found: hash.into() });
        }
        let signature = match scheme {
            id::ECDSA => {
                let mut both = [0; 64];
                let (low, high) = both.split_at_mut(COORDINATE);
                low.copy_from_slice(&coordinate(&mut r)?);
                high.copy_from_slice(&coordinate(&mut r)?);
                Self::Ecdsa(both)
            }
            id::RSAPSS => Self::RsaPss(r.sized("the signature", MODULUS_MAX)?.to_vec()),
            _ => Self::RsaSsa(r.sized("the signature", MODULUS_MAX)?.to_vec()),
        };
        r.end()?;
        Ok(signature)
    }

    /// The scheme's identifier.
    pub fn scheme(&self) -> u16 {
        match self {
            Self::RsaSsa(_) => id::RSASSA,
            Self::RsaPss(_) => id::RSAPSS,
            Self::Ecdsa(_) => id::ECDSA,
        }
    }
}

/// `TPMS_ATTEST` of a quote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    /// What the caller gave to be signed.
    pub qualifying: Vec<u8>,
    /// Milliseconds that the TPM has been powered.
    pub clock: u64,
    /// How often it was reset.
    pub resets: u32,
    /// How often it was restarted since.
    pub restarts: u32,
    /// Firmware, as its vendor numbers it.
    pub firmware: u64,
    /// Banks and, in each, a bit for each register.
    pub selections: Vec<(u16, u32)>,
    /// Hash over the registers in that order.
    pub digest: Vec<u8>,
}

impl Quote {
    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(bytes, "TPMS_ATTEST");
        let magic = r.u32()?;
        if magic != id::GENERATED {
            return Err(ParseError::Value { what: "the magic number", found: magic.into() });
        }
        let kind = r.u16()?;
        if kind != id::QUOTE {
            return Err(ParseError::Value { what: "the type of attestation", found: kind.into() });
        }
        r.sized("the signer's name", NAME_MAX)?;
        let qualifying = r.sized("the qualifying data", NAME_MAX)?.to_vec();
        let clock = r.u64()?;
        let (resets, restarts) = (r.u32()?, r.u32()?);
        r.u8()?;
        let firmware = r.u64()?;
        let count = r.u32()?;
        if count > SELECTIONS_MAX {
            return Err(ParseError::Value { what: "the number of selections", found: count.into() });
        }
        let mut selections = vec![];
        for _ in 0..count {
            let bank = r.u16()?;
            let len = r.u8()?;
            let bits = match len {
                0..=4 => r.take(len.into())?.iter().rev().fold(0, |bits, byte| (bits << 8) | u32::from(*byte)),
                _ => return Err(ParseError::Value { what: "a selection's size", found: len.into() }),
            };
            selections.push((bank, bits));
        }
        let digest = r.sized("the digest of the registers", NAME_MAX)?.to_vec();
        r.end()?;
        Ok(Self { qualifying, clock, resets, restarts, firmware, selections, digest })
    }
}
