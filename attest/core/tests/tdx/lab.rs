//! A laboratory's vendor: its own root, platforms, quoting enclave and collateral.

use std::collections::BTreeMap;

use dcap_qvl::INTEL_QE_VENDOR_ID;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::judge::Case;

/// 2026-06-15, in the middle of the month that the laboratory's collateral is of.
pub(crate) const NOW: i64 = 1_781_481_600;
const ISSUED: &str = "2026-06-01T00:00:00Z";
const NEXT: &str = "2026-07-01T00:00:00Z";
/// 1.2.840.113741.1.13.1
const SGX_EXTENSION: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];
const SGX_EXTENSION_DER: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 13, 1];

/// What the laboratory makes. The defaults make a platform that nothing is wrong with.
#[derive(Clone)]
pub(crate) struct Lab {
    /// Of each of the CPU's 16 components.
    pub(crate) cpu: u8,
    pub(crate) pce: u8,
    /// ISVSVN and version of the TDX module.
    pub(crate) module: [u8; 2],
    pub(crate) qe: u16,
    pub(crate) qe_signer: u8,
    pub(crate) attributes: u64,
    /// Module and service TD of a TDX 1.5 report.
    pub(crate) later: Option<([u8; 2], u8)>,
    pub(crate) report_data: [u8; 64],
    /// In the TCB info.
    pub(crate) pce_id: &'static str,
    pub(crate) flags: [bool; 3],
    /// Last day of the PCK certificate in June.
    pub(crate) pck_until: u8,
    /// Serial numbers on the root's and the platforms' list.
    pub(crate) revoked: [Vec<u8>; 2],
    /// The intermediate signs the TCB info's certificate, and not the root.
    pub(crate) wrong_signer: bool,
    /// The quote has an encrypted platform id, and the collateral has the chain.
    pub(crate) stapled_chain: bool,
    pub(crate) evaluation: u32,
    /// Bytes that the quoting enclave adds.
    pub(crate) qe_auth: u16,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            cpu: 4,
            pce: 11,
            module: [5, 1],
            qe: 8,
            qe_signer: 0x22,
            attributes: 1 << 28,
            later: None,
            report_data: [0x5a; 64],
            pce_id: "0000",
            flags: [false; 3],
            pck_until: 30,
            revoked: [vec![], vec![]],
            wrong_signer: false,
            stapled_chain: false,
            evaluation: 20,
            qe_auth: 32,
        }
    }
}

/// Serial numbers of the certificates.
pub(crate) mod serial {
    pub(crate) const PLATFORM_CA: u8 = 2;
    pub(crate) const PCK: u8 = 3;
    pub(crate) const SIGNER: u8 = 4;
}

fn params(name: &str, serial: u8, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&[serial]));
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2030, 1, 1));
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    params
}

fn crl(issuer: &Issuer<'_, KeyPair>, serials: &[u8]) -> String {
    let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&[*serial]),
        revocation_time: date_time_ymd(2026, 5, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 6, 1),
        next_update: date_time_ymd(2026, 7, 1),
        crl_number: SerialNumber::from_slice(&[7]),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    hex::encode(params.signed_by(issuer).unwrap().der())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    let header = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [header, value.to_vec()].concat()
}

/// Object identifier below the extension's, and its value.
fn entry(below: &[u8], value: Vec<u8>) -> Vec<u8> {
    tlv(0x30, &[tlv(6, &[&SGX_EXTENSION_DER, below].concat()), value].concat())
}

fn sign(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
    key.sign(&random, message).unwrap().as_ref().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn sized(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
}

/// The root, and the intermediate that vouches for platforms.
pub(crate) struct Vendor {
    root: CertifiedIssuer<'static, KeyPair>,
    platforms: CertifiedIssuer<'static, KeyPair>,
}

impl Vendor {
    pub(crate) fn new() -> Self {
        Self::with_intermediate(true)
    }

    /// With an intermediate that is an authority, or is damaged and says that it is none.
    pub(crate) fn with_intermediate(is_ca: bool) -> Self {
        let root = CertifiedIssuer::self_signed(params("Lab Root CA", 1, true), key()).unwrap();
        let intermediate = params("Lab PCK Platform CA", serial::PLATFORM_CA, is_ca);
        let platforms = CertifiedIssuer::signed_by(intermediate, key(), &root).unwrap();
        Self { root, platforms }
    }
}

impl Lab {
    /// A quote, its collateral, and a policy that accepts them.
    pub(crate) fn case(&self) -> Case {
        self.case_of(&Vendor::new())
    }

    /// The same, of one vendor.
    pub(crate) fn case_of(&self, Vendor { root, platforms }: &Vendor) -> Case {
        let (pck_key, signer_key) = (key(), key());
        let mut pck = params("Lab PCK Certificate", serial::PCK, false);
        pck.not_after = date_time_ymd(2026, 6, self.pck_until);
        pck.custom_extensions = vec![CustomExtension::from_oid_content(&SGX_EXTENSION, self.extension())];
        let pck = pck.signed_by(&pck_key, platforms).unwrap();
        let signer = params("Lab TCB Signing", serial::SIGNER, false);
        let above = if self.wrong_signer { platforms.pem() + &root.pem() } else { root.pem() };
        let issuer = if self.wrong_signer { platforms } else { root };
        let signer_chain = signer.signed_by(&signer_key, issuer).unwrap().pem() + &above;
        let pck_chain = pck.pem() + &platforms.pem() + &root.pem();
        let (tcb, qe) = (self.tcb_info().to_string(), self.qe_identity().to_string());
        let mut collateral = json!({
            "pck_crl_issuer_chain": platforms.pem() + &root.pem(),
            "root_ca_crl": crl(root, &self.revoked[0]),
            "pck_crl": crl(platforms, &self.revoked[1]),
            "tcb_info_issuer_chain": signer_chain,
            "tcb_info_signature": hex::encode(sign(&signer_key, tcb.as_bytes())),
            "tcb_info": tcb,
            "qe_identity_issuer_chain": signer_chain,
            "qe_identity_signature": hex::encode(sign(&signer_key, qe.as_bytes())),
            "qe_identity": qe,
        });
        let certificates = if self.stapled_chain {
            collateral["pck_certificate_chain"] = pck_chain.into();
            sized(3, &[0; 404])
        } else {
            sized(5, pck_chain.as_bytes())
        };
        Case {
            quote: self.quote(&pck_key, &certificates),
            collateral,
            report_data: self.report_data,
            now: NOW,
            root: hex::encode(Sha256::digest(root.der())),
            accept: "any_measurement = true\nstatuses = [\"UpToDate\"]".into(),
            seen: BTreeMap::new(),
        }
    }

    fn extension(&self) -> Vec<u8> {
        let [dynamic, cached, smt] = self.flags.map(|flag| tlv(1, &[if flag { 0xff } else { 0 }]));
        let tcb = [entry(&[2, 17], tlv(2, &[self.pce])), entry(&[2, 18], tlv(4, &[self.cpu; 16]))].concat();
        let flags = [entry(&[7, 1], dynamic), entry(&[7, 2], cached), entry(&[7, 3], smt)].concat();
        let all = [
            entry(&[1], tlv(4, &[9; 16])),
            entry(&[2], tlv(0x30, &tcb)),
            entry(&[3], tlv(4, &[0; 2])),
            entry(&[4], tlv(4, &[0xee; 6])),
            entry(&[5], tlv(10, &[1])),
            entry(&[7], tlv(0x30, &flags)),
        ];
        tlv(0x30, &all.concat())
    }

    fn tcb_info(&self) -> Value {
        let components = |svn: u8| vec![json!({ "svn": svn }); 16];
        let level = |cpu: u8, pce: u8, status: &str, date: &str, advisories: &[&str]| {
            json!({
                "tcb": { "sgxtcbcomponents": components(cpu), "pcesvn": pce, "tdxtcbcomponents": components(0) },
                "tcbDate": date, "tcbStatus": status, "advisoryIDs": advisories,
            })
        };
        let module = |svn: u8, status: &str, advisories: &[&str]| json!({ "tcb": { "isvsvn": svn }, "tcbDate": "2026-02-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": advisories });
        let zero = "00".repeat(48);
        json!({
            "id": "TDX", "version": 3, "issueDate": ISSUED, "nextUpdate": NEXT, "fmspc": "EEEEEEEEEEEE",
            "pceId": self.pce_id, "tcbType": 0, "tcbEvaluationDataNumber": self.evaluation,
            "tdxModule": { "mrsigner": zero, "attributes": "00".repeat(8), "attributesMask": "FF".repeat(8) },
            "tdxModuleIdentities": [{
                "id": "TDX_01", "mrsigner": zero, "attributes": "00".repeat(8), "attributesMask": "FF".repeat(8),
                "tcbLevels": [
                    module(5, "UpToDate", &[]), module(4, "OutOfDate", &["LAB-SA-00040"]), module(3, "Revoked", &["LAB-SA-00030"]),
                ],
            }],
            "tcbLevels": [
                level(4, 11, "UpToDate", "2026-03-01T00:00:00Z", &[]),
                level(3, 11, "OutOfDate", "2025-03-01T00:00:00Z", &["LAB-SA-00003"]),
                level(2, 5, "Revoked", "2024-03-01T00:00:00Z", &["LAB-SA-00002"]),
            ],
        })
    }

    fn qe_identity(&self) -> Value {
        let level = |svn: u16, status: &str| json!({ "tcb": { "isvsvn": svn }, "tcbDate": "2026-02-01T00:00:00Z", "tcbStatus": status });
        json!({
            "id": "TD_QE", "version": 2, "issueDate": ISSUED, "nextUpdate": NEXT, "tcbEvaluationDataNumber": self.evaluation,
            "miscselect": "00000000", "miscselectMask": "FFFFFFFF", "attributes": format!("11{}", "00".repeat(15)),
            "attributesMask": format!("FB{}", "FF".repeat(15)), "mrsigner": "22".repeat(32), "isvprodid": 2,
            "tcbLevels": [level(8, "UpToDate"), level(7, "OutOfDate"), level(6, "Revoked")],
        })
    }

    fn quote(&self, platform: &KeyPair, certificates: &[u8]) -> Vec<u8> {
        let version: u16 = if self.later.is_some() { 5 } else { 4 };
        let mut quote =
            [&version.to_le_bytes()[..], &[2, 0, 0x81, 0, 0, 0, 0, 0, 0, 0], &INTEL_QE_VENDOR_ID, &[0; 20]].concat();
        let svn = |module: [u8; 2]| [&module[..], &[0; 14]].concat();
        let mut body = [&svn(self.module)[..], &[0; 104], &self.attributes.to_le_bytes(), &[0; 8]].concat();
        for register in 0..8 {
            body.extend([register; 48]);
        }
        body.extend(self.report_data);
        if let Some((module, service)) = self.later {
            body.extend(svn(module));
            body.extend([service; 48]);
            quote.extend(sized(3, &body));
        } else {
            quote.extend(body);
        }
        let attestation = key();
        let point = &attestation.public_key_raw()[1..];
        let auth = vec![0x33; self.qe_auth.into()];
        let named = Sha256::digest([point, &auth].concat());
        let qe = [
            &[0; 48][..],
            &[0x11],
            &[0; 79],
            &[self.qe_signer; 32],
            &[0; 96],
            &2u16.to_le_bytes(),
            &self.qe.to_le_bytes(),
            &[0; 60],
            &named,
            &[0; 32],
        ]
        .concat();
        assert_eq!(qe.len(), 384);
        let inner = [&qe[..], &sign(platform, &qe), &self.qe_auth.to_le_bytes(), &auth, certificates].concat();
        let outer = [&sign(&attestation, &quote)[..], point, &sized(6, &inner)].concat();
        quote.extend(u32::try_from(outer.len()).unwrap().to_le_bytes());
        quote.extend(outer);
        quote
    }
}
