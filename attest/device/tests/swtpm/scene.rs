//! A requester and a worker with a software TPM, and authorities for its keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use eider_attest::tpm2::parse::{Key, Public};
use eider_attest::tpm2::{Evidence, make_credential};
use eider_attest::{Appraisal, AttestPolicy, Binding, Code, Envelope, EvidenceKind, Expected, Issued, appraise};
use eider_attest_device::swtpm::{Swtpm, required};
use eider_attest_device::{Produced, Tpm};
use eider_protocol::{Hash, Identity, NodeId, OfferId};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

pub(crate) const REGISTERS: [u8; 3] = [0, 7, 16];
/// SHA-256 of Google's root certificate of endorsement keys (pki.goog, `tpm_ek_root_1`).
pub(crate) const GOOGLE: &str = "9bd5285f8fb18502a7947e621ffd470266f49fcd3b73e19a190f690ad32a7caf";

/// One requester, one worker, one offer.
pub(crate) struct Scene {
    pub(crate) swtpm: Swtpm,
    node: Identity,
    requester: NodeId,
    pub(crate) policy: AttestPolicy,
    offer: Issued,
    activated: BTreeSet<String>,
}

pub(crate) fn policy(root: &str, registers: &BTreeMap<u8, [u8; 32]>) -> AttestPolicy {
    policy_with("", root, registers)
}

pub(crate) fn policy_with(lines: &str, root: &str, registers: &BTreeMap<u8, [u8; 32]>) -> AttestPolicy {
    let mut text = format!(
        "name = \"test\"\nclass = \"internal\"\nminimum = \"L1\"\n[tpm2]\nquoted = [0, 7, 16]\n{lines}\
         roots = [{{ name = \"root\", sha256 = \"{root}\", from = \"the test\" }}]\n"
    );
    for (index, value) in registers {
        let value = hex::encode(value);
        text += &format!("[[tpm2.pcrs]]\nindex = {index}\nvalues = [\"{value}\"]\nfrom = \"read from it\"\n");
    }
    AttestPolicy::parse(text.as_bytes()).unwrap()
}

impl Scene {
    /// `None`, said loudly, where there can be no software TPM.
    pub(crate) fn new() -> Option<Self> {
        if !required() {
            return None;
        }
        let swtpm = Swtpm::start().unwrap();
        let values = swtpm.tpm().unwrap().pcrs(&REGISTERS).unwrap();
        let root = hex::encode(Sha256::digest(swtpm.issuers().unwrap().last().unwrap()));
        Some(Self::of(swtpm, policy(&root, &values)))
    }

    pub(crate) fn of(swtpm: Swtpm, policy: AttestPolicy) -> Self {
        Self {
            policy,
            node: Identity::from_seed([1; 32]),
            requester: Identity::from_seed([2; 32]).node_id(),
            offer: Issued { offer: OfferId::from_bytes([3; 32]), nonce: [4; 32], at: now() },
            activated: BTreeSet::new(),
            swtpm,
        }
    }

    pub(crate) fn binding(&self) -> Binding {
        Binding {
            kind: EvidenceKind::Tpm2,
            nonce: self.offer.nonce,
            requester: self.requester,
            offer: self.offer.offer,
            node: self.node.node_id(),
            sealing: [5; 32],
            engine: Hash::from_bytes([6; 32]),
            policy: self.policy.hash(),
        }
    }

    pub(crate) fn produce(&self, tpm: &mut Tpm) -> Produced {
        let (log, issuers) = (self.swtpm.log().unwrap(), self.swtpm.issuers().unwrap());
        tpm.produce(&REGISTERS, &self.binding().short(), log, None, issuers).unwrap()
    }

    pub(crate) fn verdict(&self, produced: &Produced) -> Appraisal {
        let envelope = Envelope {
            v: 1,
            kind: EvidenceKind::Tpm2,
            evidence: produced.evidence.clone(),
            log: produced.log.clone().map(ByteBuf::from),
            endorsements: produced.endorsements.iter().cloned().map(ByteBuf::from).collect(),
            offer: self.offer.offer,
            nonce: self.offer.nonce,
            sealing: [5; 32],
        };
        let expected = Expected {
            requester: self.requester,
            node: self.node.node_id(),
            sealing: [5; 32],
            engine: Hash::from_bytes([6; 32]),
            demanded: self.policy.hash(),
            offer: self.offer,
            earlier: &[],
            seen: &BTreeMap::new(),
            activated: &self.activated,
        };
        appraise(Some(&envelope.sign(&self.node)), &expected, now(), &self.policy)
    }

    pub(crate) fn codes(&self, produced: &Produced) -> Vec<Code> {
        self.verdict(produced).reasons.into_iter().map(|r| r.code).collect()
    }

    /// What a requester and its worker do, once for a pair of keys.
    pub(crate) fn activate(&mut self, tpm: &mut Tpm, produced: &Produced) {
        let secret = [8; 32];
        let name = name(produced);
        let credential = make_credential(&produced.endorsements[0], &name, &secret, &[9; 64]).unwrap();
        assert_eq!(tpm.activate(&credential).unwrap(), secret);
        self.activated.extend(self.verdict(produced).activation);
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

pub(crate) fn name(produced: &Produced) -> [u8; 34] {
    Public::parse(&Evidence::decode(&produced.evidence).unwrap().ak).unwrap().name
}

/// A key of a TPM, for a certificate.
struct Certified(Vec<u8>);

impl rcgen::PublicKeyData for Certified {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// What ends 2.23.133.8: tcg-kp-AIKCertificate and tcg-kp-EKCertificate.
pub(crate) const AK_PURPOSE: u64 = 3;
pub(crate) const EK_PURPOSE: u64 = 1;

/// The authority of a cloud: a root, and an intermediate that is for endorsement keys, as Google's.
pub(crate) struct Cloud {
    root: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
    between: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let authority = |name| {
            let mut params = named(name);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
            (params, rcgen::KeyPair::generate().unwrap())
        };
        let (root, key) = authority("Cloud Root");
        let root = rcgen::CertifiedIssuer::self_signed(root, key).unwrap();
        let (mut between, key) = authority("Cloud EK/AK Intermediate");
        between.extended_key_usages = purpose(EK_PURPOSE);
        let between = rcgen::CertifiedIssuer::signed_by(between, key, &root).unwrap();
        Self { root, between }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    pub(crate) fn issuers(&self) -> Vec<Vec<u8>> {
        vec![self.between.der().to_vec(), self.root()]
    }

    /// A certificate of a P-256 key for one purpose.
    pub(crate) fn certify(&self, key: &Key, purpose_of_leaf: u64) -> Vec<u8> {
        let Key::P256 { x, y } = key else { panic!("P-256") };
        let mut leaf = named("Cloud VM");
        leaf.extended_key_usages = purpose(purpose_of_leaf);
        leaf.signed_by(&Certified([&[4][..], x, y].concat()), &self.between).unwrap().der().to_vec()
    }
}

fn named(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

fn purpose(last: u64) -> Vec<rcgen::ExtendedKeyUsagePurpose> {
    vec![rcgen::ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, last])]
}
