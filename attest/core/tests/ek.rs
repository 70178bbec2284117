//! Chains of endorsement keys as TPM makers issue them: genuine ones, and ones of the same shape from a laboratory.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{codes, file, pem, root, vectors};
use eider_attest::tpm2::parse::Key;
use eider_attest::tpm2::{certificate_key, stored_certificate};
use eider_attest::{AttestPolicy, Chain, Code, Findings, Reason, Root};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

const EK_PURPOSE: &[&[u8]] = &[&[0x67, 0x81, 0x05, 0x08, 0x01]];
const AK_PURPOSES: &[&[u8]] = &[&[0x67, 0x81, 0x05, 0x08, 0x03], &[0x67, 0x81, 0x05, 0x08, 0x01]];
/// 2025-02-19.
const NOW: i64 = 1_740_000_000;
/// 2026-08-15, in the validity of what is newer.
const LATER: i64 = 1_786_752_000;
const POLICIES: &[u64] = &[2, 5, 29, 32];

/// What is wrong with a chain for endorsement keys under one pinned certificate, and the path's length if there is one.
fn verdict(leaf: &[u8], issuers: &[Vec<u8>], pinned: &[u8]) -> (Vec<Reason>, Option<usize>) {
    verdict_for(EK_PURPOSE, NOW, leaf, issuers, pinned)
}

fn verdict_for(
    purposes: &'static [&'static [u8]],
    now: i64,
    leaf: &[u8],
    issuers: &[Vec<u8>],
    pinned: &[u8],
) -> (Vec<Reason>, Option<usize>) {
    verdict_under(&[root(pinned)], purposes, now, leaf, issuers)
}

fn verdict_under(
    roots: &[Root],
    purposes: &'static [&'static [u8]],
    now: i64,
    leaf: &[u8],
    issuers: &[Vec<u8>],
) -> (Vec<Reason>, Option<usize>) {
    let issuers = issuers.iter().map(Vec::as_slice).collect();
    let chain = Chain { leaf, issuers, lists: vec![], roots, purpose: Some(purposes), revocation: false };
    let mut findings = Findings::default();
    let path = chain.check(now, &BTreeMap::new(), &mut findings);
    let length = path.as_ref().ok().map(Vec::len);
    findings.reasons.extend(path.err());
    (findings.reasons, length)
}

fn check(leaf: &[u8], issuers: &[Vec<u8>], pinned: &[u8]) -> Vec<Code> {
    let (reasons, _) = verdict(leaf, issuers, pinned);
    codes(&Ok(()), &Findings { reasons, ..Findings::default() })
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(value.len()).unwrap()][..], value].concat()
}

/// Any policy, with where STMicroelectronics' text is, as the maker writes it.
fn st_policy() -> Vec<u8> {
    let uri = tlv(0x16, b"http://www.st.com/TPM/repository/");
    let qualifier = tlv(0x30, &[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 2, 1][..], &uri].concat());
    tlv(0x30, &[&[6, 4, 0x55, 0x1d, 0x20, 0][..], &tlv(0x30, &qualifier)].concat())
}

fn extension(id: &[u64], critical: bool, value: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(id, value);
    extension.set_criticality(critical);
    extension
}

/// Root, intermediate and leaf in the shape of STMicroelectronics': the intermediate has `policies` as a critical extension,
/// signs certificates alone and those of keys alone; the leaf has an empty subject and names its model in a critical
/// alternative name.
struct Maker {
    root: Vec<u8>,
    intermediate: Vec<u8>,
    leaf: Vec<u8>,
}

impl Maker {
    fn new(extensions: Vec<CustomExtension>) -> Self {
        let key = |kind| KeyPair::generate_for(kind).unwrap();
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2040, 1, 1));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let (root_key, root_params) = (key(&PKCS_ECDSA_P384_SHA384), params("Lab TPM EK Root CA"));
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root_params, root_key);
        let (between_key, mut between) = (key(&PKCS_ECDSA_P256_SHA256), params("Lab TPM EK Intermediate CA 05"));
        between.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        between.custom_extensions = extensions;
        let intermediate = between.signed_by(&between_key, &root_issuer).unwrap();
        let issuer = Issuer::new(between, between_key);
        let mut leaf = params("");
        leaf.distinguished_name = DistinguishedName::new();
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        let model = tlv(0x30, &[&[6, 5, 0x67, 0x81, 5, 2, 2][..], &tlv(12, b"LAB1")].concat());
        let names = tlv(0x30, &tlv(0xa4, &tlv(0x30, &tlv(0x31, &model))));
        leaf.custom_extensions = vec![
            extension(&[2, 5, 29, 17], true, names),
            extension(&[2, 5, 29, 37], false, tlv(0x30, &tlv(6, EK_PURPOSE[0]))),
            extension(POLICIES, false, tlv(0x30, &st_policy())),
        ];
        let leaf = leaf.signed_by(&key(&PKCS_ECDSA_P256_SHA256), &issuer).unwrap();
        Self { root: root.der().to_vec(), intermediate: intermediate.der().to_vec(), leaf: leaf.der().to_vec() }
    }

    fn with_policies(policies: &[u8]) -> Self {
        Self::new(vec![extension(POLICIES, true, tlv(0x30, policies))])
    }

    fn issuers(&self) -> Vec<Vec<u8>> {
        vec![self.intermediate.clone(), self.root.clone()]
    }

    fn verdict(&self) -> (Vec<Reason>, Option<usize>) {
        verdict(&self.leaf, &self.issuers(), &self.root)
    }
}

#[test]
fn critical_certificate_policies_are_understood() {
    for policies in [
        st_policy(),
        // One of the maker's own, without qualifiers; and two.
        tlv(0x30, &[6, 3, 0x2a, 3, 4]),
        [tlv(0x30, &[6, 3, 0x2a, 3, 4]), st_policy()].concat(),
    ] {
        let maker = Maker::with_policies(&policies);
        assert_eq!(maker.verdict(), (vec![], Some(3)));
        assert_eq!(check(&maker.leaf, &maker.issuers(), &maker.intermediate), [], "the intermediate is pinned");
    }
}

#[test]
fn policies_that_are_not_understood_and_what_constrains_them_stay_refused() {
    let unknown = tlv(0x30, &[&[6, 3, 0x2a, 3, 4][..], &tlv(0x30, &tlv(0x30, &[6, 2, 0x2a, 9, 5, 0]))].concat());
    for (what, extensions, named) in [
        ("a qualifier that is not known", vec![extension(POLICIES, true, tlv(0x30, &unknown))], "2.5.29.32"),
        (
            "one policy twice",
            vec![extension(POLICIES, true, tlv(0x30, &[st_policy(), st_policy()].concat()))],
            "2.5.29.32",
        ),
        ("no policy", vec![extension(POLICIES, true, tlv(0x30, &[]))], "2.5.29.32"),
        (
            "an explicit policy is required",
            vec![
                extension(POLICIES, true, tlv(0x30, &st_policy())),
                extension(&[2, 5, 29, 36], true, tlv(0x30, &[0x80, 1, 0])),
            ],
            "2.5.29.36",
        ),
        ("any policy is inhibited", vec![extension(&[2, 5, 29, 54], true, vec![2, 1, 0])], "2.5.29.54"),
        ("an extension of somebody's own", vec![extension(&[1, 2, 3, 4], true, vec![5, 0])], "1.2.3.4"),
    ] {
        let (reasons, path) = Maker::new(extensions).verdict();
        assert_eq!(path, None, "{what}");
        assert_eq!(reasons.iter().map(|r| r.code).collect::<Vec<_>>(), [Code::ChainUnsupported], "{what}: {reasons:?}");
        let detail = &reasons[0].detail;
        assert!(detail.contains("Intermediate CA 05") && detail.contains(named), "{what}: {detail}");
    }
}

#[test]
fn nothing_of_a_certificate_with_critical_policies_can_be_changed() {
    let maker = Maker::with_policies(&st_policy());
    for at in 0..maker.intermediate.len() {
        for bit in [1, 0x80, 0xff] {
            let mut issuers = maker.issuers();
            issuers[0][at] ^= bit;
            let (reasons, path) = verdict(&maker.leaf, &issuers, &maker.root);
            assert_eq!(path, None, "byte {at}");
            let known = [Code::ChainInvalid, Code::ChainUnsupported, Code::CertificateExpired];
            assert!(known.contains(&reasons[0].code), "byte {at}: {reasons:?}");
        }
    }
    // The flag is on in what was signed: with it off, the signature is wrong.
    let flag = maker.intermediate.windows(8).position(|w| w == [6, 3, 0x55, 0x1d, 0x20, 1, 1, 0xff]).unwrap() + 7;
    let mut issuers = maker.issuers();
    issuers[0][flag] = 0;
    assert_eq!(check(&maker.leaf, &issuers, &maker.root), [Code::ChainInvalid]);
}

#[test]
fn an_algorithm_that_is_not_accepted_is_named() {
    let maker = Maker::with_policies(&st_policy());
    // ecdsa-with-SHA256 to ecdsa-with-SHA1 has another length; to ecdsa-with-SHA224 it has not.
    let mut leaf = maker.leaf.clone();
    let sha256 = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let places: Vec<_> = (0..leaf.len() - 10).filter(|at| leaf[*at..][..10] == sha256).collect();
    assert_eq!(places.len(), 2);
    places.into_iter().for_each(|at| leaf[at + 9] = 1);
    let (reasons, _) = verdict(&leaf, &maker.issuers(), &maker.root);
    assert_eq!(reasons[0].code, Code::ChainUnsupported);
    assert!(reasons[0].detail.contains("1.2.840.10045.4.3.1"), "{}", reasons[0]);
}

#[test]
fn padding_and_the_header_of_tpm_1_2_are_taken_off() {
    let maker = Maker::with_policies(&st_policy());
    for filling in [0, 0x11, 0xff] {
        let padded = [&maker.leaf[..], &[filling; 300]].concat();
        assert_eq!(stored_certificate(&padded), Some(&maker.leaf[..]));
    }
    let old = [&[0x10, 1, 0, 4, 0x64, 0x10, 2][..], &maker.leaf, &[0xff; 9]].concat();
    assert_eq!(stored_certificate(&old), Some(&maker.leaf[..]));
    assert_eq!(stored_certificate(&maker.leaf[..maker.leaf.len() - 1]), None, "cut off");
    for junk in [&[][..], &[0x30], &[0x30, 0x82, 0xff], &[0xff; 800]] {
        assert_eq!(stored_certificate(junk), None);
    }
}

#[test]
#[ignore = "certificates of TPM makers are not in the repository: tests/vectors/README.md"]
fn genuine_chains_of_stmicroelectronics_lead_to_their_roots() {
    let Some(ek) = vectors("ek") else { return };
    let padded = file(&ek, "kl_stm_rsa_ek_padded.bin");
    let leaf = stored_certificate(&padded).unwrap();
    assert!(leaf.len() < padded.len());
    assert!(matches!(certificate_key(leaf), Ok(Key::Rsa { .. })));
    let issuers = ["kl_STM_RSA_05I.der", "kl_STM_RSA_RT.der", "kl_GS_TPM_RT.der"].map(|name| file(&ek, name));
    assert_eq!(verdict(leaf, &issuers, &issuers[2]), (vec![], Some(4)));
    assert_eq!(
        verdict(leaf, &issuers[..2], &issuers[1]),
        (vec![], Some(3)),
        "the maker's own, cross-signed, is pinned"
    );
    assert_eq!(verdict(leaf, &issuers[..1], &issuers[0]), (vec![], Some(2)));
    assert_eq!(check(leaf, &issuers, &padded), [Code::RootUnpinned]);
    let ecc = file(&ek, "kl_stm_ecc_ek.der");
    assert!(matches!(certificate_key(&ecc), Ok(Key::P256 { .. })));
    let issuers = ["kl_STM_ECC_01I.der", "kl_STM_ECC_01RT.der", "tb_gs_tpm_ecc_root.der"].map(|name| file(&ek, name));
    assert_eq!(verdict(&ecc, &issuers, &issuers[2]), (vec![], Some(4)));
    for at in 0..issuers[0].len() {
        let mut flipped = issuers.clone();
        flipped[0][at] ^= 1 << (at % 8);
        assert_eq!(verdict(&ecc, &flipped, &issuers[2]).1, None, "byte {at}");
    }
}

#[test]
#[ignore = "certificates of TPM makers are not in the repository: tests/vectors/README.md"]
fn genuine_certificates_of_other_makers_are_read_and_sha_1_is_named() {
    let Some(ek) = vectors("ek") else { return };
    // RSA-OAEP as the key's algorithm, SHA-1 as the hash, and a header before it.
    let old = file(&ek, "hirs_stm_nv_header_ek.bin");
    let leaf = stored_certificate(&old).unwrap();
    let issuers = ["hirs_stmtpmekint02.der", "kl_STM_RSA_RT.der", "kl_GS_TPM_RT.der"].map(|name| file(&ek, name));
    let (reasons, _) = verdict(leaf, &issuers, &issuers[2]);
    assert_eq!(reasons[0].code, Code::ChainUnsupported);
    assert!(reasons[0].detail.contains("SHA-1"), "{}", reasons[0]);
    let nuvoton = file(&ek, "hirs_nuvoton_ek_padded.bin");
    assert!(matches!(certificate_key(stored_certificate(&nuvoton).unwrap()), Ok(Key::Rsa { .. })));
}

#[test]
#[ignore = "certificates of TPM makers are not in the repository: tests/vectors/README.md"]
fn a_genuine_attestation_key_of_azure_leads_to_microsofts_root() {
    let Some(ek) = vectors("ek") else { return };
    let leaf = file(&ek, "az_akcert_0x01C101D0.der");
    let issuers = ["az_ca03.der", "az_root_2023.der"].map(|name| file(&ek, name));
    let now = LATER;
    assert_eq!(verdict_for(AK_PURPOSES, now, &leaf, &issuers, &issuers[1]), (vec![], Some(3)));
    let (reasons, _) = verdict_for(EK_PURPOSE, now, &leaf, &issuers, &issuers[1]);
    assert_eq!(reasons[0].code, Code::ChainInvalid, "an attestation key is no endorsement key");
}

fn shipped() -> Vec<Root> {
    let policy = AttestPolicy::parse(include_bytes!("../../../policies/attest/internal.toml")).unwrap();
    policy.tpm2.unwrap().roots
}

#[test]
#[ignore = "certificates of TPM makers are not in the repository: tests/vectors/README.md"]
fn the_shipped_policy_pins_what_genuine_chains_end_in() {
    let (Some(ek), Some(tpm)) = (vectors("ek"), vectors("tpm")) else { return };
    let roots = shipped();
    let (leaf, ecc) = (file(&ek, "kl_stm_rsa_ek_padded.bin"), file(&ek, "kl_stm_ecc_ek.der"));
    let leaf = stored_certificate(&leaf).unwrap();
    let rsa = ["kl_STM_RSA_05I.der", "kl_STM_RSA_RT.der"].map(|name| file(&ek, name));
    assert_eq!(verdict_under(&roots, EK_PURPOSE, NOW, leaf, &rsa), (vec![], Some(3)));
    let issuers = ["kl_STM_ECC_01I.der", "kl_STM_ECC_01RT.der"].map(|name| file(&ek, name));
    assert_eq!(verdict_under(&roots, EK_PURPOSE, NOW, &ecc, &issuers), (vec![], Some(3)));
    let azure = file(&ek, "az_akcert_0x01C101D0.der");
    let issuers = ["az_ca03.der", "az_root_2023.der"].map(|name| file(&ek, name));
    assert_eq!(verdict_under(&roots, AK_PURPOSES, LATER, &azure, &issuers), (vec![], Some(3)));
    let google = file(&tpm, "gtt_gce_akcert.der");
    let issuers = ["gtt_tpm_ek_intermediate_2.crt", "gtt_tpm_ek_root_1.cer"].map(|name| file(&tpm, name));
    assert_eq!(verdict_under(&roots, AK_PURPOSES, NOW, &google, &issuers), (vec![], Some(3)));
    // The root of a chain that ends in the maker's own is not needed, and nobody else's will do.
    assert_eq!(verdict_under(&roots, EK_PURPOSE, NOW, leaf, &rsa[..1]).1, None);
}

/// DER of up to 65535 bytes.
fn long(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    let length = match (high, low) {
        (0, 0..128) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag][..], &length, value].concat()
}

/// A certificate in an issuer's name, with a signature of zeros.
fn unsigned(issuer: &Certificate) -> Vec<u8> {
    let spki = issuer.tbs_certificate().subject_public_key_info();
    let is_rsa = spki.algorithm.oid.to_string() == "1.2.840.113549.1.1.1";
    let algorithm = if is_rsa { "300d06092a864886f70d01010b0500" } else { "300a06082a8648ce3d040302" };
    let algorithm = hex::decode(algorithm).unwrap();
    let validity = [tlv(0x17, b"250101000000Z"), tlv(0x17, b"351231000000Z")].concat();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let key = rcgen::PublicKeyData::subject_public_key_info(&key);
    let body = [
        vec![0xa0, 3, 2, 1, 2, 2, 1, 1],
        algorithm.clone(),
        issuer.tbs_certificate().subject().to_der().unwrap(),
        tlv(0x30, &validity),
        vec![0x30, 0],
        key,
    ];
    long(0x30, &[long(0x30, &body.concat()), algorithm, tlv(3, &[0; 65])].concat())
}

#[test]
#[ignore = "certificates of TPM makers are not in the repository: tests/vectors/README.md"]
fn issuers_of_all_makers_are_understood_but_for_curves_that_are_named() {
    let Some(ek) = vectors("ek") else { return };
    let roots = [pem(&ek, "tb_roots.pem"), vec![file(&ek, "kl_INTEL_RT.der")]].concat();
    let mut issuers = pem(&ek, "tb_intermediates.pem");
    issuers.extend(["kl_INTEL_I.der", "kl_INF_RSA_010I.der", "kl_INF_ECC_010I.der"].map(|name| file(&ek, name)));
    let (mut understood, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for der in &issuers {
        let issuer = Certificate::from_der(der).unwrap();
        let above = issuer.tbs_certificate().issuer();
        let named = |root: &&Vec<u8>| Certificate::from_der(root).unwrap().tbs_certificate().subject() == above;
        // AMD's two roots have one name.
        let verdicts = roots.iter().filter(named).map(|root| {
            let chain = [der.clone(), root.clone()];
            let (reasons, path) = verdict_for(EK_PURPOSE, LATER, &unsigned(&issuer), &chain, root);
            assert_eq!(path, None, "nothing was signed");
            // Up to the leaf all was well.
            let is_understood = reasons[0].detail.ends_with("InvalidSignatureForPublicKey");
            match reasons[0].code {
                Code::ChainInvalid if is_understood => true,
                Code::ChainUnsupported | Code::ChainInvalid => false,
                _ => panic!("{}: {:?}", issuer.tbs_certificate().subject(), reasons),
            }
        });
        let verdicts: Vec<bool> = verdicts.collect();
        let all = if verdicts.contains(&true) { &mut understood } else { &mut refused };
        if !verdicts.is_empty() {
            *all.entry(above.to_string()).or_insert(0) += 1;
        }
    }
    println!("understood: {understood:#?}\nrefused: {refused:#?}");
    let has = |all: &BTreeMap<String, i32>, part: &str| all.keys().any(|name| name.contains(part));
    for maker in
        ["STM TPM EK Root CA", "STM TPM ECC Root CA 01", "RSA Root CA", "ECC Root CA", "AMDTPM", "www.intel.com"]
    {
        assert!(has(&understood, maker), "{maker}");
    }
    // P-521, which is not accepted.
    let curves = ["Infineon OPTIGA(TM) ECC Root CA 2", "NSING TPM ECC", "NPCTxxx ECC521", "STSAFE ECC Root CA 02"];
    assert!(refused.keys().all(|name| curves.iter().any(|curve| name.contains(curve))), "{refused:#?}");
}
