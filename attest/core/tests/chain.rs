//! Genuine certificate chains of all vendors.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{codes, file, pem, root, vectors};
use eider_attest::{Chain, Code, Findings};

const EK_CERTIFICATE: &[&[u8]] = &[&[0x67, 0x81, 0x05, 0x08, 0x01]];

fn check(
    leaf: &[u8],
    issuers: &[Vec<u8>],
    pinned: &[u8],
    purpose: Option<&'static [&'static [u8]]>,
    now: i64,
) -> Vec<Code> {
    let roots = [root(pinned)];
    let issuers = issuers.iter().map(Vec::as_slice).collect();
    let chain = Chain { leaf, issuers, lists: vec![], roots: &roots, purpose, revocation: false };
    let mut findings = Findings::default();
    let verdict = chain.check(now, &BTreeMap::new(), &mut findings).map(|path| assert!(path.len() > 1));
    codes(&verdict, &findings)
}

#[test]
fn amd_chains_of_both_encodings_are_accepted() {
    let Some(snp) = vectors("snp") else { return };
    for (leaf, issuers, now) in [
        ("vcek_milan.der", "cert_chain_milan", 1_740_000_000),
        ("gsg_vcek.der", "cert_chain_milan", 1_740_000_000),
        ("coco_test-vcek.der", "cert_chain_milan", 1_740_000_000),
        ("coco_test-vlek.der", "gsg_ask_ark_milan_vlek.pem", 1_740_000_000),
        ("vcek_turin.der", "cert_chain_turin", 1_740_000_000),
    ] {
        let (leaf_der, issuers_der) = (file(&snp, leaf), pem(&snp, issuers));
        let ark = issuers_der.last().unwrap();
        assert_eq!(check(&leaf_der, &issuers_der, ark, None, now), [], "{leaf}");
        assert_eq!(check(&leaf_der, &issuers_der, ark, None, 1_000_000_000), [Code::CertificateExpired], "{leaf}");
        assert_eq!(check(&leaf_der, &issuers_der, ark, None, 4_000_000_000), [Code::CertificateExpired], "{leaf}");
        assert_eq!(check(&leaf_der, &issuers_der, &issuers_der[0], None, now), [], "an intermediate may be pinned");
        let genoa = pem(&snp, "gsg_ask_ark_genoa.pem");
        assert_eq!(check(&leaf_der, &issuers_der, &genoa[1], None, now), [Code::RootUnpinned], "{leaf}");
        assert_eq!(check(&leaf_der, &genoa, &genoa[1], None, now), [Code::ChainInvalid], "{leaf}");
        assert_eq!(check(&leaf_der, &issuers_der[1..], ark, None, now), [Code::ChainInvalid], "{leaf}");
        assert_eq!(check(&leaf_der, &issuers_der[..1], ark, None, now), [Code::ChainInvalid], "{leaf}");
        let mut forged = leaf_der.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(check(&forged, &issuers_der, ark, None, now), [Code::ChainInvalid], "{leaf}");
        assert_eq!(check(&forged, &issuers_der, ark, None, 4_000_000_000), [Code::ChainInvalid], "forged and old");
    }
}

#[test]
fn a_tpm_chain_must_be_for_endorsement_keys() {
    let Some(tpm) = vectors("tpm") else { return };
    let leaf = file(&tpm, "gtt_gce_akcert.der");
    let issuers = [pem(&tpm, "gtt_tpm_ek_intermediate_2.crt.pem"), pem(&tpm, "gtt_tpm_ek_root_1.cer.pem")].concat();
    assert_eq!(check(&leaf, &issuers, &issuers[1], Some(EK_CERTIFICATE), 1_740_000_000), []);
    assert_eq!(check(&leaf, &issuers, &issuers[1], Some(&[&[0x55, 0x1d]]), 1_740_000_000), [Code::ChainInvalid]);
}

#[test]
fn a_flip_of_any_byte_of_a_certificate_is_refused() {
    let Some(snp) = vectors("snp") else { return };
    let (leaf, issuers) = (file(&snp, "vcek_milan.der"), pem(&snp, "cert_chain_milan"));
    for at in 0..leaf.len() {
        let mut flipped = leaf.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(check(&flipped, &issuers, &issuers[1], None, 1_740_000_000), [Code::ChainInvalid], "byte {at}");
    }
}

#[test]
fn no_truncated_certificate_is_accepted() {
    let Some(snp) = vectors("snp") else { return };
    let (leaf, issuers) = (file(&snp, "vcek_milan.der"), pem(&snp, "cert_chain_milan"));
    for length in 0..leaf.len() {
        assert_eq!(check(&leaf[..length], &issuers, &issuers[1], None, 1_740_000_000), [Code::ChainInvalid]);
    }
}
