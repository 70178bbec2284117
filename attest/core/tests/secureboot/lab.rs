//! A TPM and a firmware that exist in tests alone: an attestation key with a certificate, and logs of boots.

use std::collections::{BTreeMap, BTreeSet};

use eider_attest::tpm2::{Evidence, Tpm2, eventlog};
use eider_attest::{AttestPolicy, Binding, Envelope, EvidenceKind, Findings, Given};
use eider_protocol::{Hash, NodeId, OfferId};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::{Digest, Sha256};

/// 2025-02-19.
const NOW: i64 = 1_740_000_000;
const QUALIFYING: [u8; 32] = [9; 32];

pub(crate) const CONFIG: u32 = 0x8000_0001;
pub(crate) const AUTHORITY: u32 = 0x8000_00e0;
pub(crate) const SEPARATOR: u32 = 4;
/// An event that no register holds.
pub(crate) const NO_ACTION: u32 = 3;
pub(crate) const ACTION: u32 = 0x8000_0007;
/// A kind of event that means nothing here.
pub(crate) const OTHER: u32 = 0x0d;
pub(crate) const GLOBAL: &str = "61dfe48bca93d211aa0d00e098032b8c";
pub(crate) const DATABASES: &str = "cbb219d73a3d9645a3bcdad00e67656f";
pub(crate) const SHIM: &str = "50ab5d6046e00043abb63dd810dd8b23";

/// An event of register 7: its kind, what was measured, and what the log says that was.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) kind: u32,
    pub(crate) measured: Vec<u8>,
    pub(crate) said: Vec<u8>,
}

pub(crate) fn event(kind: u32, data: &[u8]) -> Logged {
    Logged { kind, measured: data.to_vec(), said: data.to_vec() }
}

/// `UEFI_VARIABLE_DATA`.
pub(crate) fn data(vendor: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lengths = [name.len() as u64, value.len() as u64].map(u64::to_le_bytes).concat();
    [hex::decode(vendor).unwrap(), lengths, utf16, value.to_vec()].concat()
}

pub(crate) fn variable(kind: u32, vendor: &str, name: &str, value: &[u8]) -> Logged {
    event(kind, &data(vendor, name, value))
}

/// What stands for a certificate: DER, as far as anybody looks.
pub(crate) fn certificate(n: u8) -> Vec<u8> {
    vec![0x30, 0x82, 0, 2, n, n]
}

/// `db`'s entry of a certificate: behind its owner.
pub(crate) fn owned(certificate: &[u8]) -> Vec<u8> {
    [&[0x77; 16][..], certificate].concat()
}

/// What firmware measures before it starts anything.
pub(crate) fn settings(secure_boot: &[u8]) -> Vec<Logged> {
    vec![
        variable(CONFIG, GLOBAL, "SecureBoot", secure_boot),
        variable(CONFIG, GLOBAL, "PK", b"platform"),
        variable(CONFIG, GLOBAL, "KEK", b"exchange"),
        variable(CONFIG, DATABASES, "db", b"allowed"),
        variable(CONFIG, DATABASES, "dbx", b""),
    ]
}

pub(crate) fn separator() -> Logged {
    event(SEPARATOR, &[0; 4])
}

/// A boot with Secure Boot on: a driver, shim and a kernel, signed with certificates 1, 2 and 3.
pub(crate) fn boot() -> Vec<Logged> {
    [
        settings(&[1]),
        vec![
            variable(AUTHORITY, DATABASES, "db", &owned(&certificate(1))),
            separator(),
            variable(AUTHORITY, DATABASES, "db", &owned(&certificate(2))),
            variable(AUTHORITY, SHIM, "SbatLevel", b"sbat,1,2023012900\n"),
            variable(AUTHORITY, SHIM, "Shim", &certificate(3)),
        ],
    ]
    .concat()
}

/// A crypto-agile log of register 7 with SHA-256 alone.
pub(crate) fn log(events: &[Logged]) -> Vec<u8> {
    log_of(&events.iter().map(|event| (7, event.clone())).collect::<Vec<_>>())
}

/// The same of several registers.
pub(crate) fn log_of(events: &[(u32, Logged)]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let header =
        [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2], &[1, 0, 0, 0], &[0x0b, 0, 32, 0], &[0]].concat();
    let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &sized(&header)].concat();
    for (register, event) in events {
        log.extend([*register, event.kind, 1].map(u32::to_le_bytes).concat());
        log.extend([0x0b, 0]);
        log.extend(Sha256::digest(&event.measured));
        log.extend(sized(&event.said));
    }
    log
}

/// A register after these events.
pub(crate) fn register(events: &[Logged]) -> [u8; 32] {
    events.iter().fold([0; 32], |value, event| {
        Sha256::new().chain_update(value).chain_update(Sha256::digest(&event.measured)).finalize().into()
    })
}

/// A TPM whose attestation key is certified.
pub(crate) struct Lab {
    key: KeyPair,
    certificates: Vec<ByteBuf>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2040, 1, 1));
            params
        };
        let mut ca = params("Lab TPM Root CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params("Lab attestation key").signed_by(&key, &root).unwrap();
        let certificates = vec![ByteBuf::from(leaf.der().to_vec()), ByteBuf::from(root.der().to_vec())];
        Self { key, certificates }
    }

    /// With this between the certificates and before them.
    pub(crate) fn with(&self, before: &[u8]) -> Self {
        let before = ByteBuf::from(before.to_vec());
        let [leaf, root] = &self.certificates[..] else { panic!("a leaf and its root") };
        let key = KeyPair::try_from(self.key.serialized_der()).unwrap();
        Self { key, certificates: vec![before.clone(), leaf.clone(), before, root.clone()] }
    }

    /// A revocation list of somebody else's.
    pub(crate) fn list() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 2, 1),
            next_update: date_time_ymd(2025, 3, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&Issuer::new(params, KeyPair::generate().unwrap())).unwrap().der().to_vec()
    }

    /// A policy that wants register 7.
    pub(crate) fn policy(&self, lines: &str) -> AttestPolicy {
        self.wanting(&[7], lines)
    }

    /// A policy that wants these registers.
    pub(crate) fn wanting(&self, registers: &[u8], lines: &str) -> AttestPolicy {
        let root = hex::encode(Sha256::digest(self.certificates.last().unwrap()));
        let text = format!(
            "name = \"t\"\nclass = \"internal\"\nminimum = \"L1\"\n[tpm2]\nquoted = {registers:?}\n\
             roots = [{{ name = \"root\", sha256 = \"{root}\", from = \"the test\" }}]\n{lines}"
        );
        AttestPolicy::parse(text.as_bytes()).unwrap()
    }

    /// A quote of registers with these values.
    fn evidence(&self, values: &BTreeMap<u8, [u8; 32]>) -> Evidence {
        let point = rcgen::PublicKeyData::der_bytes(&self.key);
        let (x, y) = point[1..].split_at(32);
        // A restricted signing key, fixed to its TPM: ECDSA with SHA-256, P-256.
        let head = hex::decode("0023000b0005047200000010 0018000b00030010".replace(' ', "")).unwrap();
        let ak = [&head[..], &[0, 32], x, &[0, 32], y].concat();
        let selected = values.keys().fold(0_u32, |bits, register| bits | 1 << register).to_le_bytes();
        let quote = [
            &hex::decode("ff54434780180000").unwrap()[..],
            &[0, 32],
            &QUALIFYING,
            &[0; 25],
            // One bank: SHA-256, of which 24 registers at most.
            &[0, 0, 0, 1, 0, 11, 3],
            &selected[..3],
            &[0, 32],
            &Sha256::digest(values.values().flatten().copied().collect::<Vec<_>>()),
        ]
        .concat();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.key.serialized_der(), &random);
        let signature = key.unwrap().sign(&random, &quote).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        let signature = [&[0, 0x18, 0, 11, 0, 32][..], r, &[0, 32], s].concat();
        let pcrs = values.iter().map(|(register, value)| (*register, ByteArray::new(*value))).collect();
        Evidence { ak, quote, signature, pcrs }
    }

    /// What comes of a quote of register 7 with this log.
    pub(crate) fn judge(&self, value: [u8; 32], log: Option<Vec<u8>>, policy: &AttestPolicy) -> Findings {
        self.judge_all(&BTreeMap::from([(7, value)]), log, policy).0
    }

    /// What comes of a quote of these registers with this log, and what was judged.
    pub(crate) fn judge_all(
        &self,
        values: &BTreeMap<u8, [u8; 32]>,
        log: Option<Vec<u8>>,
        policy: &AttestPolicy,
    ) -> (Findings, Envelope) {
        let envelope = Envelope {
            v: 1,
            kind: EvidenceKind::Tpm2,
            evidence: self.evidence(values).encode(),
            log: log.map(ByteBuf::from),
            endorsements: self.certificates.clone(),
            offer: OfferId::from_bytes([1; 32]),
            nonce: [2; 32],
            sealing: [3; 32],
        };
        let binding = Binding {
            kind: EvidenceKind::Tpm2,
            nonce: envelope.nonce,
            requester: NodeId::from_bytes([4; 32]),
            offer: envelope.offer,
            node: NodeId::from_bytes([5; 32]),
            sealing: envelope.sealing,
            engine: Hash::from_bytes([6; 32]),
            policy: policy.hash(),
        };
        let (seen, activated) = (BTreeMap::new(), BTreeSet::new());
        let given = Given { envelope: &envelope, binding, now: NOW, policy, seen: &seen, activated: &activated };
        let mut findings = Findings::default();
        Tpm2.verify_quoting(&QUALIFYING, &given, &mut findings).unwrap();
        (findings, envelope)
    }
}

/// The events of register 7, as a verifier sees them.
pub(crate) fn events(log: &[u8]) -> Vec<eventlog::Event> {
    eventlog::replay(log).unwrap().secure_boot
}
