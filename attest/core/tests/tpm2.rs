//! Genuine quotes of TPMs and of clouds' virtual TPMs, at a fixed time, and what must be refused.
#![allow(clippy::unwrap_used)]

mod common;
mod quotes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{base64, codes, file, root, vectors};
use eider_attest::tpm2::parse::{Key, Public, Quote, Signature, attribute};
use eider_attest::tpm2::{CredentialError, Evidence, RANDOM, Tpm2, make_credential};
use eider_attest::{AttestPolicy, Binding, Code, Envelope, EvidenceKind, Findings, Given, Status, Verifier};
use eider_protocol::{Hash, Identity, OfferId};
use quotes::{NONCE, genuine, google, json, keylime, qualifying};
use serde_bytes::ByteBuf;

/// 2025-02-19, in the validity of Google's certificates.
const NOW: i64 = 1_740_000_000;

#[test]
fn genuine_quotes_verify_with_their_own_qualifying_data() {
    for (name, evidence) in genuine() {
        let own = qualifying(&evidence);
        let (ak, quote) = evidence.check(&own).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(matches!(ak.key, Key::Rsa { .. }), "{name}");
        assert_eq!(quote.selections[0].0, 11, "{name}");
        assert_eq!(evidence.check(&[7; 32]).unwrap_err().code, Code::BindingMismatch, "{name}");
        assert_eq!(Evidence::decode(&evidence.encode()).unwrap(), evidence, "{name}");
    }
    let Some(tpm) = vectors("tpm") else { return };
    assert_eq!(qualifying(&google(&tpm, 11)), [0x90, 0x09]);
    let name = Public::parse(&keylime(&tpm).ak).unwrap().name;
    assert_eq!(name[..], file(&tpm, "kl_ak.name"), "the name is as tpm2-tools computed it");
}

#[test]
fn every_flipped_byte_of_quote_signature_and_registers_is_refused() {
    for (name, evidence) in genuine() {
        let own = qualifying(&evidence);
        for n in 0..evidence.quote.len() {
            for bit in [1, 0x80] {
                let mut flipped = evidence.clone();
                flipped.quote[n] ^= bit;
                let code = flipped.check(&own).unwrap_err().code;
                assert!(matches!(code, Code::EvidenceMalformed | Code::SignatureInvalid), "{name} {n}: {code}");
            }
        }
        for n in 0..evidence.signature.len() {
            let mut flipped = evidence.clone();
            flipped.signature[n] ^= 1;
            let code = flipped.check(&own).unwrap_err().code;
            assert!(matches!(code, Code::EvidenceMalformed | Code::SignatureInvalid), "{name} {n}: {code}");
        }
        for index in evidence.pcrs.keys() {
            let mut flipped = evidence.clone();
            flipped.pcrs.get_mut(index).unwrap()[5] ^= 1;
            assert_eq!(flipped.check(&own).unwrap_err().code, Code::SignatureInvalid, "{name} {index}");
            flipped.pcrs.remove(index);
            assert_eq!(flipped.check(&own).unwrap_err().code, Code::EvidenceMalformed, "{name} {index}");
        }
    }
}

#[test]
fn nothing_truncated_or_lengthened_is_parsed() {
    for (name, evidence) in genuine() {
        for n in 0..evidence.quote.len() {
            assert!(Quote::parse(&evidence.quote[..n]).is_err(), "{name}");
        }
        for n in 0..evidence.signature.len() {
            assert!(Signature::parse(&evidence.signature[..n]).is_err(), "{name}");
        }
        for n in 0..evidence.ak.len() {
            assert!(Public::parse(&evidence.ak[..n]).is_err(), "{name}");
        }
        let bytes = evidence.encode();
        for n in 0..bytes.len() {
            assert_eq!(Evidence::decode(&bytes[..n]).unwrap_err().code, Code::EvidenceMalformed, "{name}");
        }
        assert!(Quote::parse(&[&evidence.quote[..], &[0]].concat()).is_err(), "{name}");
        assert!(Evidence::decode(&[&bytes[..], &[0]].concat()).is_err(), "{name}");
    }
    assert!(Evidence::decode(&vec![0; 9000]).is_err());
}

#[test]
fn a_key_that_other_software_can_use_is_refused() {
    let Some(tpm) = vectors("tpm") else { return };
    let evidence = keylime(&tpm);
    let own = qualifying(&evidence);
    for bit in [
        attribute::RESTRICTED,
        attribute::SIGN,
        attribute::FIXED_TPM,
        attribute::FIXED_PARENT,
        attribute::SENSITIVE_DATA_ORIGIN,
        attribute::DECRYPT,
    ] {
        let mut other = evidence.clone();
        let attributes = Public::parse(&other.ak).unwrap().attributes ^ bit;
        other.ak[4..8].copy_from_slice(&attributes.to_be_bytes());
        assert_eq!(other.check(&own).unwrap_err().code, Code::IdentityMismatch, "{bit:#x}");
    }
}

#[test]
fn other_banks_and_sha1_signatures_are_refused() {
    let Some(tpm) = vectors("tpm") else { return };
    assert_eq!(google(&tpm, 4).check(&[0x90, 0x09]).unwrap_err().code, Code::PcrMissing);
    assert_eq!(google(&tpm, 12).check(&[0x90, 0x09]).unwrap_err().code, Code::PcrMissing);
    let windows = json(&tpm, "goatt_windows_gcp_shielded_vm.json");
    let signature = base64(windows["Quote"]["Signature"].as_str().unwrap());
    assert!(Signature::parse(&signature).unwrap_err().to_string().contains("hash"));
}

/// Envelope and policy around Google's quote.
struct Case {
    envelope: Envelope,
    policy: AttestPolicy,
    activated: BTreeSet<String>,
    now: i64,
}

impl Case {
    fn google(folder: &Path) -> Self {
        let certificates = ["gtt_gce_akcert.der", "gtt_tpm_ek_intermediate_2.crt", "gtt_tpm_ek_root_1.cer"];
        let endorsements: Vec<_> = certificates.iter().map(|name| ByteBuf::from(file(folder, name))).collect();
        let envelope = Envelope {
            v: 1,
            kind: EvidenceKind::Tpm2,
            evidence: google(folder, 11).encode(),
            log: Some(ByteBuf::from(file(folder, "gtt_gce_eventlog.bin"))),
            offer: OfferId::from_bytes([1; 32]),
            nonce: [2; 32],
            sealing: [3; 32],
            endorsements,
        };
        let policy = Self::policy(&root(&envelope.endorsements[2]).sha256, "");
        Self { envelope, policy, activated: BTreeSet::new(), now: NOW }
    }

    fn policy(root: &[u8], more: &str) -> AttestPolicy {
        let text = format!(
            "name = \"t\"\nclass = \"internal\"\nminimum = \"L1\"\n[tpm2]\nquoted = [0, 4, 7, 10]\nlog = true\n\
             roots = [{{ name = \"root\", sha256 = \"{}\", from = \"the vectors\" }}]\n{more}",
            hex::encode(root)
        );
        AttestPolicy::parse(text.as_bytes()).unwrap()
    }

    /// What is wrong with it for this qualifying data; without, for a binding.
    fn verify(&self, own: Option<&[u8]>) -> (Vec<Code>, Findings) {
        let binding = Binding {
            kind: EvidenceKind::Tpm2,
            nonce: self.envelope.nonce,
            requester: Identity::from_seed([1; 32]).node_id(),
            offer: self.envelope.offer,
            node: Identity::from_seed([2; 32]).node_id(),
            sealing: self.envelope.sealing,
            engine: Hash::from_bytes([4; 32]),
            policy: self.policy.hash(),
        };
        let given = Given {
            envelope: &self.envelope,
            binding,
            now: self.now,
            policy: &self.policy,
            seen: &BTreeMap::new(),
            activated: &self.activated,
        };
        let mut findings = Findings::default();
        let verdict = match own {
            Some(own) => Tpm2.verify_quoting(own, &given, &mut findings),
            None => Tpm2.verify(&given, &mut findings),
        };
        (codes(&verdict, &findings), findings)
    }

    fn codes(&self) -> Vec<Code> {
        self.verify(Some(NONCE)).0
    }
}

#[test]
fn a_cloud_quote_is_accepted_by_its_certificate_and_refused_for_our_binding() {
    let Some(tpm) = vectors("tpm") else { return };
    let case = Case::google(&tpm);
    let (codes, findings) = case.verify(Some(NONCE));
    assert_eq!(codes, [], "{:?}", findings.reasons);
    assert_eq!(findings.activation, None, "the certificate is the attestation key's own");
    assert_eq!(findings.claims["log-explains"], "0 1 2 3 4 5 6 7 8 9");
    assert_eq!(case.verify(None).0, [Code::BindingMismatch]);
}

#[test]
fn wrong_roots_times_and_chains_have_their_reasons() {
    let Some(tpm) = vectors("tpm") else { return };
    let case = || Case::google(&tpm);
    let other = file(&tpm, "gtt_gcp_ek_ak_ca_root.crt");
    assert_eq!(Case { policy: Case::policy(&root(&other).sha256, ""), ..case() }.codes(), [Code::RootUnpinned]);
    assert_eq!(Case { now: 1_500_000_000, ..case() }.codes(), [Code::CertificateExpired]);
    assert_eq!(Case { now: 2_600_000_000, ..case() }.codes(), [Code::CertificateExpired]);
    let mut without = case();
    without.envelope.endorsements.remove(1);
    assert_eq!(without.codes(), [Code::ChainInvalid]);
    without.envelope.endorsements.clear();
    assert_eq!(without.codes(), [Code::ChainInvalid]);
    let mut foreign = case();
    foreign.policy = AttestPolicy::parse(b"name = \"t\"\nclass = \"public\"\nminimum = \"L0\"\n").unwrap();
    assert_eq!(foreign.codes(), [Code::KindNotAccepted]);
    let der = case().envelope.endorsements[0].clone();
    for n in (0..der.len()).step_by(7) {
        let mut cut = case();
        cut.envelope.endorsements[0] = ByteBuf::from(der[..n].to_vec());
        assert_eq!(cut.codes(), [Code::ChainInvalid]);
    }
}

#[test]
fn a_certificate_of_another_key_wants_an_activation() {
    let Some(tpm) = vectors("tpm") else { return };
    let mut case = Case::google(&tpm);
    let evidence = keylime(&tpm);
    let own = qualifying(&evidence);
    case.envelope.evidence = evidence.encode();
    case.policy = Case::policy(&root(&case.envelope.endorsements[2]).sha256, "");
    let (codes, found) = case.verify(Some(&own));
    assert!(codes.contains(&Code::ActivationMissing), "{codes:?}");
    let pair = found.activation.unwrap();
    let certificate = hex::encode(root(&case.envelope.endorsements[0]).sha256);
    let name = hex::encode(file(&tpm, "kl_ak.name"));
    assert_eq!(pair, format!("{certificate}:{name}"));
    case.activated.insert(pair.clone());
    let (codes, found) = case.verify(Some(&own));
    assert!(!codes.contains(&Code::ActivationMissing), "{codes:?}");
    assert_eq!(found.activation, Some(pair));
}

#[test]
fn registers_are_held_against_the_policy() {
    let Some(tpm) = vectors("tpm") else { return };
    let case = Case::google(&tpm);
    let pin = root(&case.envelope.endorsements[2]).sha256;
    let pcr0 = hex::encode(google(&tpm, 11).pcrs[&0].as_ref());
    let entry = |index: u8, value: &str| {
        format!("[[tpm2.pcrs]]\nindex = {index}\nvalues = [\"{value}\"]\nfrom = \"the vectors\"\n")
    };
    let with = |more: &str| Case { policy: Case::policy(&pin, more), ..Case::google(&tpm) };
    assert_eq!(with(&entry(0, &pcr0)).codes(), []);
    assert_eq!(with(&entry(0, &pcr0.to_uppercase())).codes(), []);
    let zero = "0".repeat(64);
    let (codes, findings) = with(&entry(7, &zero)).verify(Some(NONCE));
    assert_eq!(codes, [Code::PcrMismatch]);
    let detail = &findings.reasons[0].detail;
    let found = hex::encode(google(&tpm, 11).pcrs[&7].as_ref());
    assert!(detail.contains("register 7") && detail.contains(&zero) && detail.contains(&found), "{detail}");
    assert_eq!(with(&[entry(0, &zero), entry(0, &pcr0)].concat()).codes(), [], "alternatives");
}

#[test]
fn registers_of_a_boot_hold_together() {
    let Some(tpm) = vectors("tpm") else { return };
    let pin = root(&Case::google(&tpm).envelope.endorsements[2]).sha256;
    let pcrs = google(&tpm, 11).pcrs;
    let value = |index: u8| hex::encode(pcrs[&index].as_ref());
    let other = "11".repeat(32);
    let image = |name: &str, four: &str, seven: &str| {
        format!(
            "[[tpm2.images]]\nname = \"{name}\"\nfrom = \"the vectors\"\nregisters = {{ pcr4 = \"{four}\", pcr7 = \"{seven}\" }}\n"
        )
    };
    let with = |more: &str| Case { policy: Case::policy(&pin, more), ..Case::google(&tpm) };
    let good = image("good", &value(4), &value(7));
    let (codes, findings) = with(&(image("old", &other, &value(7)) + &good)).verify(Some(NONCE));
    assert_eq!(codes, [], "{:?}", findings.reasons);
    assert_eq!(findings.claims["image"], "good");
    assert_eq!(findings.vector.executables, Status::Affirming);
    let halves = image("left", &value(4), &other) + &image("right", &other, &value(7));
    let (codes, findings) = with(&halves).verify(Some(NONCE));
    assert_eq!(codes, [Code::PcrMismatch], "a mixture of two boots");
    let detail = &findings.reasons[0].detail;
    assert!(detail.contains("nearest image is left") && detail.contains("pcr7 is "), "{detail}");
}

#[test]
fn logs_must_lead_to_the_quoted_registers() {
    let Some(tpm) = vectors("tpm") else { return };
    let mut case = Case::google(&tpm);
    let log = case.envelope.log.take().unwrap();
    assert_eq!(case.codes(), [Code::LogMissing]);
    let Some(folder) = vectors("eventlog") else { return };
    case.envelope.log = Some(ByteBuf::from(file(&folder, "gtt_rhel8-uefi.bin")));
    let (codes, findings) = case.verify(Some(NONCE));
    assert_eq!(codes, [Code::LogMismatch]);
    assert!(findings.reasons.iter().any(|r| r.detail.starts_with("register 4:")));
    case.envelope.log = Some(ByteBuf::from(file(&folder, "gtt_debian-10.bin")));
    let (codes, findings) = case.verify(Some(NONCE));
    assert_eq!(codes, [Code::LogMismatch]);
    assert!(findings.reasons[0].detail.contains("SHA-1"), "{}", findings.reasons[0]);
    case.envelope.log = Some(ByteBuf::new());
    assert_eq!(case.codes(), [Code::LogMismatch]);
    // An event's SHA-1 digest stands behind 0004, and its SHA-256 digest behind 000b.
    let digests: Vec<_> =
        (0..log.len() - 56).filter(|n| log[*n..][..2] == [4, 0] && log[n + 22..][..2] == [11, 0]).collect();
    assert!(digests.len() > 20);
    for at in digests {
        let mut flipped = log.clone();
        flipped[at + 24] ^= 1;
        case.envelope.log = Some(flipped);
        assert_eq!(case.codes(), [Code::LogMismatch], "the digest at {at}");
    }
}

/// Only the events of some registers, of a log with SHA-1, SHA-256 and SHA-384.
fn events_of(log: &[u8], is_wanted: impl Fn(u32) -> bool) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(log[at..at + 4].try_into().unwrap());
    let mut at = 32 + number(28) as usize;
    let mut kept = log[..at].to_vec();
    while at < log.len() {
        let mut end = at + 12;
        for _ in 0..number(at + 8) {
            end += 2 + match log[end] {
                4 => 20,
                11 => 32,
                12 => 48,
                other => panic!("algorithm {other}"),
            };
        }
        end += 4 + number(end) as usize;
        if is_wanted(number(at)) {
            kept.extend(&log[at..end]);
        }
        at = end;
    }
    kept
}

#[test]
fn a_log_of_some_registers_does_not_explain_the_others() {
    let Some(tpm) = vectors("tpm") else { return };
    let mut case = Case::google(&tpm);
    let log = case.envelope.log.take().unwrap();
    let mut with = |is_wanted: fn(u32) -> bool| {
        case.envelope.log = Some(ByteBuf::from(events_of(&log, is_wanted)));
        let (codes, findings) = case.verify(Some(NONCE));
        let details = findings.reasons.iter().map(|r| r.detail.split(':').next().unwrap().to_string());
        (codes, details.collect::<Vec<_>>())
    };
    assert_eq!(with(|_| true), (vec![], vec![]));
    assert_eq!(with(|register| [0, 4, 7].contains(&register)), (vec![], vec![]), "what the policy wants");
    assert_eq!(with(|register| register != 4), (vec![Code::LogMismatch], vec!["register 4".to_string()]));
    let all = [0, 4, 7].map(|register| format!("register {register}"));
    assert_eq!(with(|register| register == 8), (vec![Code::LogMismatch], all.to_vec()));
}

/// The log's shim is old and logs a byte more than it measures, which shows nobody's signature.
#[test]
fn a_cloud_quote_shows_that_secure_boot_was_on() {
    let Some(tpm) = vectors("tpm") else { return };
    let pin = root(&Case::google(&tpm).envelope.endorsements[2]).sha256;
    let with = |more: &str| Case { policy: Case::policy(&pin, more), ..Case::google(&tpm) }.verify(Some(NONCE));
    let (codes, findings) = with("secure_boot = true");
    assert_eq!(codes, [], "{:?}", findings.reasons);
    // Google's own certificate, which has signed shim.
    let google = "a7b8c851deb2acba7c7d0e6ec091c93440f942c65d776fdcb58016f8fd1674b0";
    assert_eq!(findings.claims["signers"], format!("db={google}"));
    assert_eq!(findings.vector.configuration, Status::Affirming);
    let (codes, findings) =
        with(&format!("secure_boot = true\nsigners = [{{ value = \"{google}\", from = \"the vectors\" }}]"));
    assert_eq!(codes, [Code::SignerUnknown]);
    assert!(findings.reasons.iter().all(|r| r.detail.starts_with("event 24 ")), "{:?}", findings.reasons);
    let mut without = Case { policy: Case::policy(&pin, "secure_boot = true"), ..Case::google(&tpm) };
    without.envelope.log = None;
    assert_eq!(without.codes(), [Code::LogMissing]);
}

#[test]
fn a_credential_is_not_made_for_rsa_4096_or_a_damaged_certificate() {
    let Some(tpm) = vectors("tpm") else { return };
    let (name, random) = (Public::parse(&keylime(&tpm).ak).unwrap().name, [5; RANDOM]);
    let certificate = file(&tpm, "gtt_gce_akcert.der");
    let credential = make_credential(&certificate, &name, &[1; 32], &random).unwrap();
    // A digest of 32 bytes and a secret of 32, each behind a length; RSA-2048.
    assert_eq!((credential.blob.len(), credential.secret.len()), (68, 256));
    let again = make_credential(&certificate, &name, &[1; 32], &[6; RANDOM]).unwrap();
    assert_ne!((&again.blob, &again.secret), (&credential.blob, &credential.secret));
    for secret in [0, 33] {
        let refused = make_credential(&certificate, &name, &vec![1; secret], &random);
        assert_eq!(refused, Err(CredentialError::Secret(secret)));
    }
    let root = file(&tpm, "gtt_gcp_ek_ak_ca_root.crt");
    let refused = make_credential(&root, &name, &[1; 32], &random).unwrap_err();
    assert!(matches!(refused, CredentialError::Certificate(_) | CredentialError::Key(_)), "RSA-4096: {refused}");
    for n in 0..certificate.len() {
        assert!(make_credential(&certificate[..n], &name, &[1; 32], &random).is_err());
        let mut damaged = certificate.clone();
        damaged[n] ^= 0x41;
        let _ = make_credential(&damaged, &name, &[1; 32], &random);
    }
}
