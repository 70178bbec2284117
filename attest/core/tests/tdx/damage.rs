//! Quotes and collateral with one thing changed.

use std::ops::Range;

use eider_attest::Code;
use serde_json::Value;

use super::{
    genuine::{version_4, version_5},
    judge::{Case, envelope, vector},
    lab::Lab,
};

fn both() -> Vec<Case> {
    vec![version_4(), version_5()]
}

/// Where the parts of a genuine quote are.
struct Parts {
    signed: usize,
    /// From the signature up to the certification data's header.
    keys: Range<usize>,
    /// The PEM chain.
    chain: Range<usize>,
}

fn parts(quote: &[u8]) -> Parts {
    let signed = if quote[0] == 5 { 54 + 885 } else { 48 + 584 };
    let chain = signed + 4 + 128 + 6 + 384 + 64 + 2 + 32 + 6;
    let length = u32::from_le_bytes(quote[chain - 4..chain].try_into().unwrap()) as usize;
    Parts { signed, keys: signed + 4..chain, chain: chain..chain + length }
}

fn flipped(case: &Case, at: usize, bit: u8) -> Case {
    let mut case = case.clone();
    case.quote[at] ^= 1 << bit;
    case
}

#[test]
fn every_byte_that_is_signed_matters() {
    for case in both() {
        let signed = parts(&case.quote).signed;
        let body = if case.quote[0] == 5 { 54 } else { 48 };
        for at in 0..signed {
            let verdict = flipped(&case, at, (at % 8) as u8).judge();
            // Version, key type, TEE type, vendor and the body's type and size are read before anything is verified.
            let shape = at < 8 || (12..28).contains(&at) || (48..body).contains(&at);
            verdict.only(if shape { Code::EvidenceMalformed } else { Code::SignatureInvalid });
        }
    }
}

#[test]
fn every_byte_of_signatures_keys_and_lengths_matters() {
    for case in both() {
        let Parts { signed, keys, .. } = parts(&case.quote);
        for at in signed..keys.end {
            let verdict = flipped(&case, at, (at % 8) as u8).judge();
            let codes = verdict.codes();
            assert_eq!(codes.len(), 1, "{at}: {codes:?}");
            assert!([Code::SignatureInvalid, Code::EvidenceMalformed].contains(&codes[0]), "{at}: {codes:?}");
        }
    }
}

#[test]
fn certificates_in_the_quote_matter() {
    for case in both() {
        // In the collateral there may be the same chain again.
        let chain = parts(&case.quote).chain;
        for at in chain.step_by(11).filter(|at| !case.quote[*at].is_ascii_whitespace() && case.quote[*at] != 0) {
            let codes = flipped(&case, at, 0).judge().codes();
            assert_eq!(codes.len(), 1, "{at}");
            let known = [Code::ChainInvalid, Code::RootUnpinned, Code::CollateralInvalid];
            assert!(known.contains(&codes[0]), "{at}: {codes:?}");
        }
    }
}

#[test]
fn zeros_may_follow_a_quote_and_nothing_else() {
    for mut case in both() {
        case.quote.extend([0; 100]);
        case.judge().proven();
        case.quote.push(1);
        case.judge().only(Code::EvidenceMalformed);
        case.quote.resize(40 << 10, 0);
        case.judge().only(Code::EvidenceMalformed);
    }
}

#[test]
fn no_length_of_a_quote_panics_or_is_proven() {
    for case in both() {
        let end = parts(&case.quote).chain.end;
        for length in 0..end {
            let short = Case { quote: case.quote[..length].to_vec(), ..case.clone() };
            short.judge().only(Code::EvidenceMalformed);
        }
    }
}

#[test]
fn any_length_may_be_claimed() {
    for case in both() {
        let Parts { signed, chain, .. } = parts(&case.quote);
        for at in [signed, signed + 4 + 128 + 2, chain.start - 4] {
            for length in [0, 1, 600, 1 << 16, 1 << 20, (1 << 20) + 1, u32::MAX] {
                let mut case = case.clone();
                case.quote[at..at + 4].copy_from_slice(&length.to_le_bytes());
                case.judge().only(Code::EvidenceMalformed);
            }
        }
    }
}

#[test]
fn every_member_of_collateral_matters() {
    for case in both() {
        let members: Vec<_> = case.collateral.as_object().unwrap().keys().cloned().collect();
        assert!(members.len() >= 9);
        for member in members {
            let text = case.collateral[&member].as_str().unwrap().to_string();
            let step = (text.len() / 150).max(1) | 1;
            for at in (0..text.len()).step_by(step).filter(|at| !text.as_bytes()[*at].is_ascii_whitespace()) {
                let mut bytes = text.clone().into_bytes();
                // Another hexadecimal digit, or another character of base64 or JSON.
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                let mut case = case.clone();
                case.collateral[&member] = String::from_utf8(bytes).unwrap().into();
                let codes = case.judge().codes();
                let known = [Code::CollateralInvalid, Code::ChainInvalid, Code::RootUnpinned];
                assert!(codes.len() == 1 && known.contains(&codes[0]), "{member} {at}: {codes:?}");
            }
        }
    }
}

#[test]
fn tampered_statements_and_lists_are_invalid_collateral() {
    for case in both() {
        let edits = [
            ("tcb_info", "\"OutOfDate\"", "\"UpToDate\""),
            ("tcb_info", "\"tcbEvaluationDataNumber\":", "\"tcbEvaluationDataNumber\":9"),
            ("tcb_info", "\"nextUpdate\":\"202", "\"nextUpdate\":\"203"),
            ("tcb_info", "\"id\":\"TDX\"", "\"id\":\"SGX\""),
            ("qe_identity", "\"nextUpdate\":\"202", "\"nextUpdate\":\"203"),
            ("qe_identity", "\"isvprodid\":2", "\"isvprodid\":1"),
        ];
        for (member, from, to) in edits {
            let mut case = case.clone();
            let text = case.collateral[member].as_str().unwrap();
            assert!(text.contains(from), "{member}: {from}");
            case.collateral[member] = text.replace(from, to).into();
            case.judge().only(Code::CollateralInvalid);
        }
        for member in ["root_ca_crl", "pck_crl"] {
            let mut case = case.clone();
            let mut crl = hex::decode(case.collateral[member].as_str().unwrap()).unwrap();
            let last = crl.len() - 1;
            crl[last] ^= 1;
            case.collateral[member] = hex::encode(crl).into();
            case.judge().only(Code::CollateralInvalid);
        }
        let mut swapped = case.clone();
        swapped.collateral["root_ca_crl"] = case.collateral["pck_crl"].clone();
        swapped.collateral["pck_crl"] = case.collateral["root_ca_crl"].clone();
        swapped.judge().only(Code::CollateralInvalid);
    }
}

#[test]
fn every_member_of_collateral_must_be_there_and_of_its_type() {
    for case in both() {
        for member in case.collateral.as_object().unwrap().keys().filter(|m| *m != "pck_certificate_chain") {
            let mut without = case.clone();
            without.collateral.as_object_mut().unwrap().remove(member);
            without.judge().only(Code::CollateralInvalid);
            for value in [Value::Null, 7.into(), "".into(), "zz".into(), vec![1, 2, 3].into()] {
                let mut other = case.clone();
                other.collateral[member] = value;
                let codes = other.judge().codes();
                assert_eq!(codes.len(), 1);
                assert!([Code::CollateralInvalid, Code::ChainInvalid].contains(&codes[0]), "{member}: {codes:?}");
            }
        }
    }
}

#[test]
fn no_length_of_collateral_panics_or_is_proven() {
    for case in both() {
        let whole = serde_json::to_vec(&case.collateral).unwrap();
        for length in (1..whole.len()).step_by(13) {
            let envelope = envelope(case.quote.clone(), vec![whole[..length].to_vec()]);
            case.judge_envelope(&envelope).only(Code::CollateralInvalid);
        }
    }
}

#[test]
fn other_genuine_quotes_never_panic() {
    let case = version_4();
    if crate::common::vectors("azure").is_none() {
        return;
    }
    for name in
        ["gtg_prod_quote_SPR_E4.dat", "gtg_quote_v5_sample.dat", "azure/tdx_td-quote.bin", "azure/tdx_quote.bin"]
    {
        let quote = vector(name);
        assert!(!Case { quote, ..case.clone() }.judge().reasons.is_empty(), "{name}");
    }
}

/// Xorshift, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// One to three bytes changed, cut out or put in.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            match self.below(4) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xff, 0x30][self.below(5)],
                2 => drop(bytes.splice(at..(at + 1 + self.below(8)).min(bytes.len()), [])),
                _ => drop(bytes.splice(at..at, [self.below(256) as u8])),
            }
        }
    }
}

fn blocks(text: &str) -> Option<Vec<Vec<u8>>> {
    let blocks = pem::parse_many(text).ok().filter(|b| !b.is_empty())?;
    Some(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

fn text_of(blocks: Vec<Vec<u8>>) -> Value {
    blocks.into_iter().map(|b| pem::encode(&pem::Pem::new("CERTIFICATE", b))).collect::<String>().into()
}

/// A quote's signed and sized parts, and its certificates without the text around them, which is nobody's statement.
fn content(quote: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let chain = parts(quote).chain.start;
    let certs = pem::parse_many(&quote[chain..]).unwrap();
    (quote[..chain].to_vec(), certs.into_iter().map(pem::Pem::into_contents).collect())
}

#[test]
fn random_damage_never_panics_and_is_never_proven() {
    let mut whole = Lab::default().case();
    let members: Vec<_> = whole.collateral.as_object().unwrap().keys().cloned().collect();
    for member in &members {
        if let Some(blocks) = blocks(whole.collateral[member].as_str().unwrap()) {
            whole.collateral[member] = text_of(blocks);
        }
    }
    let rounds = std::env::var("TDX_DAMAGE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    for seed in 1..=rounds {
        let (mut random, mut case) = (Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)), whole.clone());
        let member = members.get(random.below(members.len() + 2));
        if let Some(member) = member {
            let text = case.collateral[member].as_str().unwrap().to_string();
            case.collateral[member] = if let Ok(mut bytes) = hex::decode(&text) {
                random.damage(&mut bytes);
                hex::encode(bytes).into()
            } else if let Some(mut blocks) = blocks(&text) {
                let block = random.below(blocks.len());
                random.damage(&mut blocks[block]);
                text_of(blocks)
            } else {
                let mut bytes = text.into_bytes();
                random.damage(&mut bytes);
                String::from_utf8_lossy(&bytes).into()
            };
        } else {
            random.damage(&mut case.quote);
        }
        let verdict = case.judge();
        if case.collateral != whole.collateral {
            assert!(!verdict.reasons.is_empty(), "seed {seed}: {member:?}");
        } else if verdict.reasons.is_empty() {
            assert_eq!(content(&case.quote), content(&whole.quote), "seed {seed}");
        }
    }
}
