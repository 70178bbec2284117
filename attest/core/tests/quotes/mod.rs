//! Genuine quotes, from the forms that their sources have.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use eider_attest::tpm2::Evidence;
use eider_attest::tpm2::parse::Quote;
use serde_bytes::ByteArray;
use serde_json::Value;

use crate::common::{base64, file, vectors};

/// What Google's quote was asked for with.
pub(crate) const NONCE: &[u8] = &[0x90, 0x09];

pub(crate) fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&file(folder, name)).unwrap()
}

pub(crate) fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

pub(crate) fn pcrs(values: impl IntoIterator<Item = (u8, Vec<u8>)>) -> BTreeMap<u8, ByteArray<32>> {
    values.into_iter().map(|(n, v)| (n, ByteArray::new(v.try_into().unwrap()))).collect()
}

/// `TPMT_PUBLIC` of a restricted signing key, for sources that publish the modulus alone.
pub(crate) fn public(modulus: &[u8]) -> Vec<u8> {
    let head = hex::decode("0001000b00050072000000100014000b08000000000001 00".replace(' ', "")).unwrap();
    [head, modulus.to_vec()].concat()
}

/// `TPMT_SIGNATURE` around a plain RSASSA signature, for sources that publish that.
pub(crate) fn rsassa(signature: &[u8]) -> Vec<u8> {
    [&[0, 0x14, 0, 0x0b, 1, 0], signature].concat()
}

/// Google Cloud: container-optimised system, nonce 9009, an attestation key with a certificate of its own.
pub(crate) fn google(folder: &Path, bank: u64) -> Evidence {
    let all = json(folder, "gtt_gce.json");
    let quote = all["quotes"].as_array().unwrap().iter().find(|q| q["hash"] == bank).unwrap().clone();
    let values = quote["pcrs"].as_object().unwrap();
    let values = values.iter().map(|(n, v)| (n.parse().unwrap(), unhex(v)));
    Evidence {
        ak: unhex(&all["ak_pub"]),
        quote: unhex(&quote["quote"]),
        signature: unhex(&quote["sig"]),
        pcrs: if bank == 11 { pcrs(values) } else { BTreeMap::new() },
    }
}

pub(crate) fn software_tpm(folder: &Path) -> Evidence {
    let all = json(folder, "coco_tpm_evidence.json");
    let der = base64(all["ak_public"].as_str().unwrap());
    let quote = &all["tpm_quote"];
    Evidence {
        ak: public(&der[33..der.len() - 5]),
        quote: base64(quote["message"].as_str().unwrap()),
        signature: base64(quote["signature"].as_str().unwrap()),
        pcrs: pcrs((0..).zip(quote["pcrs"].as_array().unwrap().iter().map(unhex))),
    }
}

pub(crate) fn keylime(folder: &Path) -> Evidence {
    // tpm2-tools' file: a selection of 132 bytes, the number of lists, and in each digests of 2 + 64 bytes, little endian.
    let values = file(folder, "kl_quotepcr.out");
    let value = |n: usize| values[142 + n * 66..][..32].to_vec();
    Evidence {
        ak: file(folder, "kl_ak.pub")[2..].to_vec(),
        quote: file(folder, "kl_quote.out"),
        signature: file(folder, "kl_quotesig.out"),
        pcrs: pcrs([(15, value(0)), (16, value(1)), (22, value(2))]),
    }
}

/// Azure's virtual TPM; its key is in the report of the hardware beneath.
pub(crate) fn azure(folder: &Path, name: &str) -> Evidence {
    let all = json(folder, name);
    let quote = &all["tpm_quote"];
    let report = base64(all["hcl_report"].as_str().unwrap());
    let report = String::from_utf8_lossy(&report).into_owned();
    let modulus = report.split("\"n\":\"").nth(1).unwrap().split('"').next().unwrap();
    Evidence {
        ak: public(&base64(modulus)),
        quote: unhex(&quote["message"]),
        signature: rsassa(&unhex(&quote["signature"])),
        pcrs: pcrs((0..).zip(quote["pcrs"].as_array().unwrap().iter().map(unhex))),
    }
}

pub(crate) fn genuine() -> Vec<(&'static str, Evidence)> {
    let (Some(tpm), Some(clouds)) = (vectors("tpm"), vectors("azure")) else { return vec![] };
    vec![
        ("google", google(&tpm, 11)),
        ("software TPM", software_tpm(&tpm)),
        ("keylime", keylime(&tpm)),
        ("azure SNP", azure(&clouds, "snp_evidence-v2.json")),
        ("azure TDX", azure(&clouds, "tdx_evidence-v1.json")),
    ]
}

pub(crate) fn qualifying(evidence: &Evidence) -> Vec<u8> {
    Quote::parse(&evidence.quote).unwrap().qualifying
}
