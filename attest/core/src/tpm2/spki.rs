//! The key in a certificate, as the numbers that a TPM's structures have too.

use super::parse::{Key, ParseError, Reader};

/// OBJECT IDENTIFIER of rsaEncryption, with tag and length.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Of id-RSAES-OAEP, which some endorsement keys are certified as.
const RSA_OAEP: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07];
/// Of id-ecPublicKey, and after it that of secp256r1.
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Reads a SubjectPublicKeyInfo (RFC 5280, section 4.1) of an RSA or P-256 key.
///
/// # Errors
/// Another kind of key, or not DER.
pub(super) fn key(der: &[u8]) -> Result<Key, ParseError> {
    let mut outer = Reader::new(der, "SubjectPublicKeyInfo");
    let mut r = Reader::new(value(&mut outer, SEQUENCE)?, "SubjectPublicKeyInfo");
    outer.end()?;
    let algorithm = value(&mut r, SEQUENCE)?;
    let bits = value(&mut r, BIT_STRING)?;
    r.end()?;
    let Some((0, bits)) = bits.split_first() else {
        return Err(ParseError::Value { what: "the unused bits of the key", found: 0 });
    };
    if algorithm.starts_with(RSA) || algorithm.starts_with(RSA_OAEP) {
        return rsa(bits);
    }
    match bits.split_first_chunk::<33>() {
        Some(([4, x @ ..], y)) if algorithm == P256 && y.len() == 32 => {
            let mut key = ([0; 32], [0; 32]);
            key.0.copy_from_slice(x);
            key.1.copy_from_slice(y);
            Ok(Key::P256 { x: key.0, y: key.1 })
        }
        _ => Err(ParseError::Value { what: "the kind of key in the certificate", found: 0 }),
    }
}

fn rsa(der: &[u8]) -> Result<Key, ParseError> {
    let mut outer = Reader::new(der, "RSAPublicKey");
    let mut r = Reader::new(value(&mut outer, SEQUENCE)?, "RSAPublicKey");
    outer.end()?;
    let modulus = positive(value(&mut r, INTEGER)?)?;
    let exponent = positive(value(&mut r, INTEGER)?)?;
    r.end()?;
    if exponent != [1, 0, 1] {
        return Err(ParseError::Value { what: "the RSA exponent's length", found: exponent.len() as u64 });
    }
    Ok(Key::Rsa { modulus: modulus.to_vec(), exponent: 65537 })
}

/// A positive INTEGER without its sign byte.
fn positive(bytes: &[u8]) -> Result<&[u8], ParseError> {
    match bytes {
        [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => Ok(rest),
        [first, ..] if (1..0x80).contains(first) => Ok(bytes),
        _ => Err(ParseError::Value { what: "a negative number, or one in a long form,", found: 0 }),
    }
}

/// The value of an element with that tag; lengths up to 65535.
fn value<'a>(r: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], ParseError> {
    let found = r.u8()?;
    if found != tag {
        return Err(ParseError::Value { what: "a DER tag", found: found.into() });
    }
    let len = match r.u8()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(r.u8()?),
        0x82 => usize::from(r.u16()?),
        long => return Err(ParseError::Value { what: "a DER length", found: long.into() }),
    };
    r.take(len)
}
