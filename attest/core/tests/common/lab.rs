//! A vendor of chips that exists in tests alone: a root, an intermediate, leaves with AMD's extensions, and reports.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CustomExtension,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};

/// A time at which all certificates are valid.
pub(crate) const NOW: i64 = 1_740_000_000;
/// Serial number of the intermediate.
pub(crate) const INTERMEDIATE: &[u8] = &[1, 0, 1];

/// Its keys and certificates.
pub(crate) struct Lab {
    ask: Issuer<'static, KeyPair>,
    ark: Issuer<'static, KeyPair>,
    /// Intermediate and root, DER.
    pub(crate) issuers: Vec<Vec<u8>>,
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2030, 1, 1));
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    params
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::until(2030)
    }

    /// With a root that is valid until the first of January of a year.
    pub(crate) fn until(year: i32) -> Self {
        Self::of(year, &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign])
    }

    /// With a root that must not sign lists, and does.
    pub(crate) fn without_lists() -> Self {
        Self::of(2030, &[KeyUsagePurpose::KeyCertSign])
    }

    fn of(year: i32, usages: &[KeyUsagePurpose]) -> Self {
        let (ark, mut ark_params) = (key(), params("ARK-Lab", true));
        ark_params.not_after = date_time_ymd(year, 1, 1);
        let signs = std::mem::replace(&mut ark_params.key_usages, usages.to_vec());
        let root = ark_params.self_signed(&ark).unwrap();
        ark_params.key_usages = signs;
        let ark = Issuer::new(ark_params, ark);
        let (ask, mut ask_params) = (key(), params("SEV-Lab", true));
        ask_params.serial_number = Some(SerialNumber::from_slice(INTERMEDIATE));
        ask_params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["https://lab/crl".into()] }];
        let intermediate = ask_params.signed_by(&ask, &ark).unwrap();
        let ask = Issuer::new(ask_params, ask);
        Self { ask, ark, issuers: vec![intermediate.der().to_vec(), root.der().to_vec()] }
    }

    pub(crate) fn root(&self) -> &[u8] {
        self.issuers.last().unwrap()
    }

    /// A leaf with AMD's extensions: what follows 1.3.6.1.4.1.3704.1, and the value.
    pub(crate) fn leaf(&self, extensions: &[(&[u64], Vec<u8>)]) -> Leaf {
        let key = key();
        let der = self.certified(&key, extensions);
        Leaf { key, der }
    }

    /// A certificate of this vendor's for somebody else's key, which takes no more than to have seen the public one.
    pub(crate) fn certify(&self, leaf: &Leaf, extensions: &[(&[u64], Vec<u8>)]) -> Vec<u8> {
        self.certified(&leaf.key, extensions)
    }

    fn certified(&self, key: &KeyPair, extensions: &[(&[u64], Vec<u8>)]) -> Vec<u8> {
        let mut params = params("SEV-VCEK", false);
        for (id, value) in extensions {
            let id = [&[1, 3, 6, 1, 4, 1, 3704, 1], *id].concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(&id, value.clone()));
        }
        params.signed_by(key, &self.ask).unwrap().der().to_vec()
    }

    /// A revocation list of the root, for days of February 2025.
    pub(crate) fn list(&self, number: u64, revoked: &[&[u8]], days: (u8, u8)) -> Vec<u8> {
        list(&self.ark, number, revoked, days)
    }

    /// The same of the intermediate's.
    pub(crate) fn leafs_list(&self, number: u64, days: (u8, u8)) -> Vec<u8> {
        list(&self.ask, number, &[], days)
    }

    /// A list in the root's name that another key has signed.
    pub(crate) fn forged_list(&self, number: u64, days: (u8, u8)) -> Vec<u8> {
        list(&Issuer::new(params("ARK-Lab", true), key()), number, &[], days)
    }
}

fn list(issuer: &Issuer<'_, KeyPair>, number: u64, revoked: &[&[u8]], days: (u8, u8)) -> Vec<u8> {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2025, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 2, days.0),
        next_update: date_time_ymd(2025, 2, days.1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().der().to_vec()
}

/// A leaf's key and certificate.
pub(crate) struct Leaf {
    key: KeyPair,
    pub(crate) der: Vec<u8>,
}

impl Leaf {
    /// A report with these fields, signed. Unless they say otherwise it is of a Genoa whose memory was found free of aliases, its
    /// guest's policy allows simultaneous threads alone, and the firmware is the reported one at all times.
    pub(crate) fn report(&self, fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut report = vec![0; 0x4a0];
        report[0x34] = 1;
        report[0x0a] = 3;
        report[0x40] = 0x20;
        report[0x188..0x18b].copy_from_slice(&[0x19, 0x11, 1]);
        for (at, value) in fields {
            report[*at..at + value.len()].copy_from_slice(value);
        }
        for at in [0x38, 0x1e0, 0x1f0] {
            if fields.iter().all(|(field, _)| *field != at) {
                report.copy_within(0x180..0x188, at);
            }
        }
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, self.key.serialized_der(), &random);
        let signature = key.unwrap().sign(&random, &report[..0x2a0]).unwrap();
        for (n, number) in signature.as_ref().chunks(48).enumerate() {
            for (at, byte) in number.iter().rev().enumerate() {
                report[0x2a0 + 72 * n + at] = *byte;
            }
        }
        report
    }
}
